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
from stillhouse.entities import ChunkRecipe, digest_of
from stillhouse.wire.identity import ClusterKey
from stillhouse.wire.seal import open_artefact, seal_artefact

OPENED: dict[str, Family] = {}  # in this worker process


def pack_key(family_digest: str, wanted: Sequence[ChunkRecipe]) -> str:
    """The recipe key: equal for all clients that need the same chunks of the same family."""
    return digest_of([family_digest, [recipe.model_dump(mode="json") for recipe in wanted]])


@ray.remote(**prefer_gpu(), max_retries=3)
def compress(family_digest: str, wanted: tuple[ChunkRecipe, ...], keys: Path, vault: Any) -> Any:
    """The sealed pack as numpy uint8, which the object store hands on without a copy."""
    cluster = ClusterKey.load(keys / "cluster.key")
    pack = build_pack(opened_family(family_digest, cluster, vault), wanted)
    label = pack_label(pack_key(family_digest, wanted))
    return np.frombuffer(
        seal_artefact(pack.to_bytes(), cluster.public, label, os.urandom), dtype=np.uint8
    )


def open_pack(sealed: Any, cluster: ClusterKey, key: str) -> Pack:
    return Pack.from_bytes(open_artefact(sealed.data, cluster, pack_label(key)))


def pack_label(key: str) -> str:
    """What a sealed pack is bound to."""
    return f"pack/{key}"


def opened_family(family_digest: str, cluster: ClusterKey, vault: Any) -> Family:
    """The family; the last one stays open in this worker."""
    if family_digest not in OPENED:
        sealed = ray.get(vault.family.remote(family_digest))
        OPENED.clear()
        OPENED[family_digest] = Family.from_bytes(
            open_artefact(sealed.data, cluster, family_label(family_digest))
        )
    return OPENED[family_digest]
