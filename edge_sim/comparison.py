"""Runs the baselines of all jobs as Ray tasks; what an earlier run found is taken over.

A task opens the family as a compression task does, with the cluster's key: the harness stands where
the operator stands. The owner's files come from the run's cache, never through the object store.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import ray
import torch

import edge_sim
import stillhouse
from actors.packing import opened_family
from actors.settings import VAULT, ActorSettings
from cluster.sources import code_digest
from edge_sim.baselines import BASELINES, Baseline, Bench, Case, owner_alone, owner_net
from edge_sim.cache import Cache
from edge_sim.wrist import owner
from stillhouse.compress.arch import to_safetensors
from stillhouse.entities import TrainingRecipe, digest_of
from stillhouse.wire.identity import ClusterKey

ALONE = "owner_alone"  # its net is one a student
SLOTS = 2  # of the cluster's eight: two tasks at once beside four hosts

Heard = Callable[[str, float], None]


class Comparison:
    """The baselines of one run's jobs, by the job's device."""

    def __init__(self, cases: Mapping[str, Case], settings: ActorSettings, cache: Cache) -> None:
        self._cases, self._settings, self._cache = cases, settings, cache
        self._code = code_digest(stillhouse, edge_sim)

    def run(self, heard: Heard) -> dict[str, tuple[Baseline, ...]]:
        """Every baseline of every case, in the order of their names."""
        wanted = {(name, kind): case for name, kind, case in self._pairs()}
        keys = {place: self._key(place[1], case) for place, case in wanted.items()}
        cases = {keys[place]: (place[1], case) for place, case in wanted.items()}
        found = {key: data for key in cases if (data := self._cache.find(key)) is not None}
        if found:
            self._cache.reused.append(f"{len(found)} of {len(cases)} baselines")
        found |= self._made({k: each for k, each in cases.items() if k not in found}, heard)
        heard("done", 1.0)
        return {
            name: tuple(
                Baseline.model_validate_json(found[keys[name, kind]])
                for other, kind in sorted(keys)
                if other == name
            )
            for name in self._cases
        }

    def _pairs(self) -> Iterator[tuple[str, str, Case]]:
        """(job, baseline, case): as few different cases as the baselines allow."""
        first: dict[int, Case] = {}
        for name, case in self._cases.items():
            anywhere = case.model_copy(update={"device": None, "calibration_ms": ()})
            for kind in (*BASELINES, ALONE):
                match kind:
                    case "central_personalised":
                        yield name, kind, first.setdefault(case.person, reference(anywhere))
                    case "random_fitting":
                        yield name, kind, case
                    case _:
                        yield name, kind, anywhere

    def _key(self, kind: str, case: Case) -> str:
        return digest_of([kind, case.model_dump(mode="json"), self._code, torch.__version__])

    def _made(self, missing: Mapping[str, tuple[str, Case]], heard: Heard) -> dict[str, bytes]:
        nets = {
            net_key(case): net.options(name=f"baseline: owner's net {case.student}").remote(
                case, self._cache.folder
            )
            for kind, case in missing.values()
            if kind == ALONE
        }
        running = {
            compute.options(name=f"baseline: {kind} {case.student} person {case.person}").remote(
                kind, case, self._cache.folder, self._settings, nets.get(net_key(case))
            ): key
            for key, (kind, case) in missing.items()
        }
        made: dict[str, bytes] = {}
        while len(made) < len(running):
            done, _ = ray.wait([ref for ref, key in running.items() if key not in made])
            for ref in done:
                result: Any = ray.get(ref)
                made[running[ref]] = result.model_dump_json().encode()
                self._cache.put(running[ref], made[running[ref]])
                heard(result.name, len(made) / len(running))
        return made


@ray.remote(num_cpus=SLOTS)
def net(case: Case, folder: Path) -> None:
    """Train the net that several cases share, into the cache."""
    registration = registered(case.seed, case.central_epochs, folder)
    net_of(case, registration, folder)


@ray.remote(num_cpus=SLOTS)
def compute(kind: str, case: Case, folder: Path, settings: ActorSettings, _net: None) -> Baseline:
    """One baseline; `_net` is only waited for."""
    torch.set_num_threads(1)
    vault = ray.get_actor(VAULT, settings.namespace)
    family = opened_family(
        case.family_digest, ClusterKey.load(settings.keys / "cluster.key"), vault
    )
    bench = Bench(case, registered(case.seed, case.central_epochs, folder), family)
    if kind == ALONE:
        return owner_alone(bench, net_of(case, bench.registration, folder))
    return BASELINES[kind](bench)


def reference(case: Case) -> Case:
    """The case that all jobs of a person share."""
    recipe = TrainingRecipe(seed=case.seed)
    return case.model_copy(update={"recipe": recipe})


@lru_cache(maxsize=1)
def registered(seed: int, epochs: int, folder: Path) -> owner.Registration:
    """The owner's files, the weights from the run's cache; once a process."""
    keep = partial(Cache(folder).keep, "central model")
    return owner.prepare(seed, epochs=epochs, keep=keep)


def net_key(case: Case) -> str:
    weights = owner.weights_key(case.seed, case.central_epochs)
    shape = [case.student.width, case.student.depths]  # it trains in float32, whatever the bits
    return digest_of(["owner's net", shape, case.seed, weights, code_digest(edge_sim)])


def net_of(case: Case, registration: owner.Registration, folder: Path) -> bytes:
    torch.set_num_threads(1)

    def make() -> bytes:
        return to_safetensors(owner_net(registration, case.student, case.seed))

    return Cache(folder).keep("owner's net", net_key(case), make)
