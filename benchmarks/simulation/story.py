"""A story: a seed and steps, each with two small numbers that say to whom and how it happens.

A step means something in any state, or nothing: so steps can be left out, and what remains is still
a story. All else that looks like chance in the world is a hash of the seed.
"""

import random
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

LENGTH = 200
HOW = 120  # divisible by many numbers


class Step(NamedTuple):
    name: str
    who: int
    how: int


@dataclass(frozen=True, slots=True)
class Story:
    seed: int
    steps: tuple[Step, ...]


WEIGHTS = {
    "device": 40,
    "effect": 26,
    "tick": 8,
    "submit": 9,
    "late": 5,
    "early": 2,
    "advance": 5,
    "clock": 4,
    "crash": 3,
    "fail": 4,
    "publish": 2,
    "stranger": 2,
    "wrong": 3,
    "again": 5,
    "profile": 1,
    "cancel": 1,
    "fence": 1,
    "doom": 1,
    "replay": 2,
    "crowd": 1,
}
WORDS = {
    "device": "device {client} goes on, or repeats what was not answered",
    "effect": "an effect of shard {shard} gives its result, or fails, or is lost",
    "tick": "shard {shard} ticks",
    "submit": "client {client} submits",
    "late": "a message that was delayed or doubled comes to shard {shard}",
    "early": "shard {shard} is told to expire what is not due",
    "advance": "the batch of shard {shard} goes some stages on",
    "clock": "the clock jumps",
    "crash": "shard {shard} is to crash some stages from now",
    "fail": "the disk of shard {shard} is to fail",
    "publish": "the vault publishes",
    "stranger": "client {client} asks for what belongs to another",
    "wrong": "device {client} sends an ack before its turn, or an old attempt's report",
    "again": "device {client} measures after the verdict",
    "profile": "client {client} replaces its profile",
    "cancel": "client {client} cancels",
    "fence": "another process opens the journal of shard {shard}",
    "doom": "the next effect of shard {shard} fails, and its every attempt",
    "replay": "an operator replays a dead letter of shard {shard}",
    "crowd": "late messages come to shard {shard} while its own commands wait for the disk",
}
NAMES = tuple(WEIGHTS)
CUMULATED = tuple(accumulate(WEIGHTS.values()))


def story_of(seed: int, length: int = LENGTH) -> Story:
    """The same seed, the same story."""
    draw = random.Random(seed)
    names = draw.choices(NAMES, cum_weights=CUMULATED, k=length)
    return Story(seed, tuple(Step(name, draw.randrange(6), draw.randrange(HOW)) for name in names))


def in_words(step: Step) -> str:
    return WORDS[step.name].format(client=step.who % 3, shard=step.who % 2) + f" ({step.how})"
