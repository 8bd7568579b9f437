"""A story: a seed and steps, each with two small numbers that say to whom and how it happens.

A step means something in any state, or nothing: so steps can be left out, and what remains is still
a story. All else that looks like chance in the world is a hash of the seed.
"""

import random
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

LENGTH = 90
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
    "device": 40,  # a device sends its next request, or the unanswered one again
    "effect": 26,  # an effect gives its result, or fails, or is lost
    "tick": 8,
    "submit": 6,
    "late": 5,  # a message that was delayed or doubled arrives
    "advance": 5,  # the pipeline goes one stage on
    "clock": 4,
    "crash": 3,
    "fail": 4,  # the next commit or read of the disk fails
    "publish": 2,
    "stranger": 2,
    "wrong": 3,  # an ack before its turn, a stale attempt, a key for something else
    "again": 3,  # a metric after the verdict
    "profile": 1,
    "cancel": 1,
    "fence": 1,
    "doom": 1,  # an effect fails until it is a dead letter
    "replay": 2,
    "crowd": 1,  # late messages come while the shard's own commands wait for the disk
}
NAMES = tuple(WEIGHTS)
CUMULATED = tuple(accumulate(WEIGHTS.values()))


def story_of(seed: int, length: int = LENGTH) -> Story:
    """The same seed, the same story."""
    draw = random.Random(seed)
    names = draw.choices(NAMES, cum_weights=CUMULATED, k=length)
    return Story(seed, tuple(Step(name, draw.randrange(6), draw.randrange(HOW)) for name in names))
