"""The compression task: slice and quantise in numpy, pack, seal. The same bytes on every machine.

A pack is known by its recipe key (what to do); what came out has a digest of its own. It leaves the
task sealed under a key of its attempt, wrapped to the cluster's key.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray

from actors.registration import family_label
from cluster.placement import prefer_gpu
from stillhouse.compress.container import Family
from stillhouse.compress.pack import Pack, build_pack
from stillhouse.entities import ChunkRecipe, DeltaRecipe, digest_of
from stillhouse.wire.identity import ClusterKey
from stillhouse.wire.seal import open_artefact, seal_artefact

OPENED: dict[str, Family] = {}  # in this worker process: a family, and the one it updates


def pack_key(family_digest: str, wanted: Sequence[ChunkRecipe]) -> str:
    """The recipe key: equal for all clients that need the same chunks of the same family."""
    return digest_of([family_digest, [recipe.model_dump(mode="json") for recipe in wanted]])


@ray.remote(**prefer_gpu(), max_retries=3)
def compress(family_digest: str, wanted: tuple[ChunkRecipe, ...], keys: Path, vault: Any) -> Any:
    """The sealed pack as numpy uint8, which the object store hands on without a copy."""
    cluster = ClusterKey.load(keys / "cluster.key")
    earlier = {each.family for each in wanted if isinstance(each, DeltaRecipe)}
    keep_open({family_digest, *earlier})
    family = opened_family(family_digest, cluster, vault)
    before = {digest: opened_family(digest, cluster, vault) for digest in earlier}
    pack = build_pack(family, wanted, before)
    label = pack_label(pack_key(family_digest, wanted))
    return np.frombuffer(
        seal_artefact(pack.to_bytes(), cluster.public, label, os.urandom), dtype=np.uint8
    )


def open_pack(sealed: Any, cluster: ClusterKey, key: str) -> Pack:
    return Pack.from_bytes(open_artefact(sealed.data, cluster, pack_label(key)))


def pack_label(key: str) -> str:
    """What a sealed pack is bound to."""
    return f"pack/{key}"


def keep_open(digests: set[str]) -> None:
    """Close the families of earlier tasks that this one does not need."""
    for digest in OPENED.keys() - digests:
        del OPENED[digest]


def opened_family(family_digest: str, cluster: ClusterKey, vault: Any) -> Family:
    """The family; it stays open in this worker until another is needed."""
    if family_digest not in OPENED:
        sealed = ray.get(vault.family.remote(family_digest))
        OPENED[family_digest] = Family.from_bytes(
            open_artefact(sealed.data, cluster, family_label(family_digest))
        )
    return OPENED[family_digest]
