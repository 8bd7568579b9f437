"""Three transfers of the same eight chunks to attack, and the device and shard that must refuse.

One is the target; one goes to another client; one goes to the same client and profile, for another
job and in another version. The plaintext is the same in all, so only what binds it can tell.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.makers import SPEC
from stillhouse.commands import Acknowledge
from stillhouse.draft import Draft
from stillhouse.edge.fetch import Fetcher
from stillhouse.edge.slots import Disk
from stillhouse.entities import (
    ArchitectureSpec,
    BehaviourRecipe,
    EdgeModelProfile,
    JobState,
    KnowledgeChunk,
    Preprocessing,
    Principal,
    Role,
    Student,
)
from stillhouse.jobs import State
from stillhouse.loop import acknowledge
from stillhouse.rounds import after_manifest
from stillhouse.rows import DeliveryRow, DistillationJobRow
from stillhouse.wire.client import SignedClient
from stillhouse.wire.frame import FrameReader
from stillhouse.wire.identity import ClusterKey, Identity, hpke_seal
from stillhouse.wire.labels import info
from stillhouse.wire.manifest import (
    Manifest,
    ManifestBody,
    ManifestChunk,
    ManifestHeader,
    commitment,
    manifest_digest,
    open_manifest,
    seal_manifest,
    wrap_transfer_key,
)
from stillhouse.wire.messages import FetchWork, ModelCard
from stillhouse.wire.seal import ChunkPlace, chunk_key, expected_acks, sealed_chunk

RECORD = 32
NOW = 1_800_000_000.0
CHUNKS = tuple(bytes([65 + i]) * (40 + 7 * i) for i in range(8))  # three or four records each
SERVER_KEY, CLUSTER = b"s" * 32, ClusterKey(b"c" * 32)
SIGNER = Ed25519PrivateKey.from_private_bytes(b"m" * 32)
TRUSTED = (SIGNER.public_key().public_bytes_raw().hex(),)
STUDENT = Student(width=0.25, depths=(1, 1), bits=4)
CARD = ModelCard(
    architecture=ArchitectureSpec(id="resnet1d"),
    preprocessing=Preprocessing(window=4, step=2, mean=(0.0,), deviation=(1.0,)),
    labels=("up", "down"),
    transfer_inputs="c" * 64,
    transfer_input_count=0,
)


@dataclass(frozen=True, slots=True)
class Transfer:
    """All that goes over the wire of one delivery, and what the shard keeps of it."""

    identity: Identity
    work: FetchWork
    row: DeliveryRow
    manifest: Manifest
    records: tuple[tuple[bytes, ...], ...]  # of each chunk

    def reader(self, index: int) -> FrameReader:
        """The device's, for chunk `index` of this transfer."""
        tk, entry = bytes.fromhex(self.manifest.transfer_key), self.manifest.body.chunks[index]
        place = self.manifest.place(index)
        return FrameReader(place.frame(), chunk_key(tk, place, bytes.fromhex(entry.payload_digest)))

    def fetcher(self, root: Path, answer: Callable[[httpx2.Request], bytes]) -> Fetcher:
        """The device itself, whose every request `answer` answers."""
        transport = httpx2.MockTransport(
            lambda r: httpx2.Response(200, stream=httpx2.ByteStream(answer(r)))
        )
        client = SignedClient(["http://127.0.0.1:8700"], self.identity, transport=transport)
        return Fetcher(
            client, self.identity, Disk(root), TRUSTED, self.row.client_id, clock=lambda: NOW
        )

    def acknowledge(self, index: int, ack: str, acknowledged: int, by: str | None = None) -> Draft:
        """What the shard decides on an ack when `acknowledged` chunks are through."""
        row, job = self.row, under_way(self.row, acknowledged)
        draft = Draft({row.id: row, job.id: job}, NOW)
        who = Principal(id=by or row.client_id, role=Role.CLIENT)
        acknowledge(draft, who, Acknowledge(row.id, index, ack))
        return draft


def under_way(row: DeliveryRow, acknowledged: int) -> DistillationJobRow:
    """The delivery's job, when so many chunks are through."""
    nodes = after_manifest(row.round, len(row.chunks), row.train_after)
    states = dict.fromkeys(range(acknowledged), State.SUCCEEDED)
    graph = {
        node.id: node._replace(
            state={**states, acknowledged: State.WAITING_CLIENT}.get(place, State.BLOCKED)
        )
        for place, node in enumerate(nodes)
    }
    profile = EdgeModelProfile(id=row.profile_id, client_id=row.client_id, revision=1, spec=SPEC)
    return DistillationJobRow(
        row.job_id,
        row.client_id,
        "wrist",
        profile,
        NOW,
        NOW + 1000,
        state=JobState.RUNNING,
        graph=graph,
    )


def transfer(name: str, device: str, job: str, version: int) -> Transfer:
    identity, tk = Identity.derive(device.encode()), hashlib.sha256(name.encode()).digest()
    client, delivery = identity.id(Role.CLIENT), f"dlv-{name}"
    places = [ChunkPlace(client, delivery, 1, i, len(c), RECORD) for i, c in enumerate(CHUNKS)]
    sealed = [
        (digest.hex(), tuple(map(bytes, records)))
        for place, chunk in zip(places, CHUNKS, strict=True)
        for digest, records in [sealed_chunk(tk, SERVER_KEY, place, chunk)]
    ]
    entries = tuple(
        ManifestChunk(chunk=known(i, chunk), payload_digest=digest, runs=None)
        for i, (chunk, (digest, _)) in enumerate(zip(CHUNKS, sealed, strict=True))
    )
    profile = f"prf-{device}"
    envelope = seal_manifest(
        ManifestHeader(
            client_id=client,
            job_id=job,
            profile_id=profile,
            delivery_id=delivery,
            attempt=1,
            version=version,
            expires_at=NOW + 1000,
            chunk_urls=("http://127.0.0.1:8701",),
            wrapped_key=wrap_transfer_key(
                tk, identity.public.receive, client, job, delivery, version
            ),
            commitment=commitment(tk),
        ),
        body(entries),
        tk,
        SIGNER,
    )
    digest = manifest_digest(envelope)
    row = DeliveryRow(
        id=delivery,
        client_id=client,
        job_id=job,
        profile_id=profile,
        round=1,
        attempt=1,
        version=version,
        family_digest="f" * 64,
        chunks=tuple(entry.chunk for entry in entries),
        train_after=7,
        envelope=envelope,
        envelope_digest=digest,
        wrapped_key=hpke_seal(CLUSTER.public, tk, info("cluster transfer key", delivery)),
        server_key_number=1,
        record_bytes=RECORD,
        expected_acks=expected_acks(tk, SERVER_KEY, delivery, 1, len(CHUNKS), digest),
        expires_at=NOW + 1000,
    )
    work = FetchWork(
        job_id=job,
        node="transfer",
        attempt=1,
        delivery_id=delivery,
        profile_id=profile,
        version=version,
        next_chunk=0,
    )
    manifest = open_manifest(
        envelope, identity, TRUSTED, client_id=client, now=NOW, latest_version=0
    )
    return Transfer(identity, work, row, manifest, tuple(records for _, records in sealed))


def known(index: int, chunk: bytes) -> KnowledgeChunk:
    return KnowledgeChunk(
        recipe=BehaviourRecipe(top_k=2, first=index, count=1),
        digest=hashlib.sha256(chunk).hexdigest(),
        length=len(chunk),
    )


def body(entries: tuple[ManifestChunk, ...]) -> ManifestBody:
    return ManifestBody(
        profile_revision=1,
        base_version=0,
        plan_digest="b" * 64,
        student=STUDENT,
        card=CARD,
        chunks=entries,
        held=(),
        train_after=7,
        record_bytes=RECORD,
        storage_bytes=1000,
        previous_manifest=None,
    )


def kept(root: Path) -> dict[str, bytes]:
    """Every file of the device, hidden ones too."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


TARGET = transfer("target", "device", "job-1", 2)
TRANSFERS = (
    TARGET,
    transfer("other-client", "stranger", "job-1", 2),
    transfer("other-job", "device", "job-2", 3),
)
