"""Wires everything: the one file that knows which class is an actor and which journal is used."""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from actors import job_manager, model_vault
from actors.chunk_server import ChunkServer
from actors.deliveries import ServerKeys
from actors.fleet_prior import Fleet
from actors.job_manager import JobManager
from actors.model_vault import ModelVault
from actors.settings import CHUNK_SERVER, FLEET_PRIOR, VAULT, ActorSettings
from cluster.journal import sqlite
from cluster.journal.contract import JournalIdentity, check_identity
from cluster.journal.inspection import identity_of
from cluster.private_files import sync_folder, write_file
from stillhouse.wire.identity import write_private
from stillhouse.wire.messages import TrustAnchors

KEYS = {"cluster.key": 32, "manifest.key": 32, "acks.key": 32}  # private bytes
CALLS = 64  # that wait in a JobManager side by side, most of them for the same commit
FOREVER: dict[str, Any] = {"max_restarts": -1, "max_task_retries": -1}


@dataclass(frozen=True, slots=True)
class Wiring:
    """Handles of all actors; whoever has none finds them by name."""

    vault: Any
    managers: tuple[Any, ...]
    chunk_server: Any
    fleet: Any


def initialise(settings: ActorSettings) -> None:
    """Make journals, and the keys that are missing, once: a shard never starts on a missing one."""
    for name, size in KEYS.items():
        if not (settings.keys / name).exists():
            write_private(settings.keys / name, os.urandom(size))
    write_file(settings.public_keys, anchors(settings).model_dump_json().encode())
    for path, identity in journals(settings).items():
        sqlite.initialise(path, identity)


def journals(settings: ActorSettings) -> dict[Path, JournalIdentity]:
    """Every publisher's journal, and whose it is; the vault's comes last."""
    shards = {
        settings.state / f"shard-{shard}.sqlite": job_manager.identity(settings, shard)
        for shard in range(settings.shards)
    }
    return {**shards, settings.state / "vault.sqlite": model_vault.identity(settings)}


def open_state(settings: ActorSettings) -> bool:
    """Initialise state that was never begun; True if it was done now. It appears whole, or not.

    Invalid for state of another deployment or schema, JournalMissing where a journal is not there:
    said here, before processes start that could only die of it.
    """
    if settings.state.exists():
        for path, identity in journals(settings).items():
            check_identity(identity_of(path), identity)
        return False
    new = settings.state.with_name(f".{settings.state.name}.new")
    shutil.rmtree(new, ignore_errors=True)  # of a start that died
    initialise(settings.model_copy(update={"state": new}))
    new.rename(settings.state)
    sync_folder(settings.state.parent)
    return True


def anchors(settings: ActorSettings) -> TrustAnchors:
    """The public halves of the cluster's keys."""
    keys = ServerKeys.load(settings)
    return TrustAnchors(
        manifest_keys=(keys.manifest.public_key().public_bytes_raw().hex(),),
        cluster_key=keys.cluster.public.hex(),
    )


def start(settings: ActorSettings) -> Wiring:
    """Start what is not running yet, and wait until all of it answers."""
    vault = actor(ModelVault, VAULT, settings).remote(settings)
    managers = tuple(
        actor(JobManager, settings.manager(shard), settings, max_concurrency=CALLS).remote(
            settings, shard
        )
        for shard in range(settings.shards)
    )
    ray.get([each.ready.remote() for each in (vault, *managers)])
    orders = {"cancel": 1}  # a cancellation does not wait behind the orders
    chunks = actor(ChunkServer, CHUNK_SERVER, settings, orders, max_concurrency=8).remote(settings)
    fleet = actor(Fleet, FLEET_PRIOR, settings).remote(settings)
    ray.get([chunks.ready.remote(), fleet.ready.remote()])
    return Wiring(vault, managers, chunks, fleet)


def stop(settings: ActorSettings) -> None:
    """End the actors, whoever started them; their state stays, and `start` takes it up again."""
    managers = (settings.manager(shard) for shard in range(settings.shards))
    for name in (FLEET_PRIOR, CHUNK_SERVER, *managers, VAULT):
        with suppress(ValueError):  # there is none
            ray.kill(ray.get_actor(name, settings.namespace))


def actor(
    cls: type,
    name: str,
    settings: ActorSettings,
    groups: dict[str, int] | None = None,
    **options: Any,
) -> Any:
    """An actor under its readable name, restarted for ever; an existing one is found."""
    chosen: dict[str, Any] = {"concurrency_groups": groups} if groups else {}
    remote: Any = ray.remote(**chosen)(cls) if groups else ray.remote(cls)
    return remote.options(
        name=name,
        namespace=settings.namespace,
        get_if_exists=True,
        lifetime="detached" if settings.detached else None,
        num_cpus=0,
        **FOREVER,
        **options,
    )
