"""One effect, one delivery: draw the transfer key, seal the manifest, compute the acks to expect.

The result is a row: the envelope goes out byte for byte as often as it is asked for, the transfer
key stands there wrapped to the cluster, and nothing in it can be sealed anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from actors.settings import ActorSettings
from stillhouse.brief import CompressOrder
from stillhouse.chunks import made_recipe, train_after
from stillhouse.compress.pack import Pack
from stillhouse.entities import ChunkRecipe, KnowledgeChunk, Student, WeightsRecipe
from stillhouse.ids import derived_id
from stillhouse.rows import DeliveryRow
from stillhouse.schedule import DELIVERY_LIFETIME_S
from stillhouse.wire.frame import RECORD_BYTES
from stillhouse.wire.identity import ClusterKey, Draw, hpke_seal, read_private
from stillhouse.wire.labels import info
from stillhouse.wire.manifest import (
    ManifestBody,
    ManifestChunk,
    ManifestHeader,
    commitment,
    manifest_digest,
    seal_manifest,
    wrap_transfer_key,
)
from stillhouse.wire.messages import ModelCard
from stillhouse.wire.seal import ChunkPlace, expected_acks, sealed_chunk

SERVER_KEY = 1  # the number of the key behind the acks


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What a chunk server reads from its configured folder, and nobody else."""

    cluster: ClusterKey
    manifest: Ed25519PrivateKey
    acks: bytes

    @classmethod
    def load(cls, settings: ActorSettings) -> "ServerKeys":
        return cls(
            ClusterKey.load(settings.keys / "cluster.key"),
            Ed25519PrivateKey.from_private_bytes(read_private(settings.keys / "manifest.key")),
            read_private(settings.keys / "acks.key"),
        )

    def transfer_key(self, row: DeliveryRow) -> bytes:
        """The transfer key of a delivery, unwrapped."""
        return self.cluster.open(row.wrapped_key, key_context(row.id))


def key_context(delivery_id: str) -> bytes:
    """What a transfer key is bound to where it is wrapped to the cluster."""
    return info("cluster transfer key", delivery_id)


def make_delivery(
    order: CompressOrder, pack: Pack, keys: ServerKeys, url: str, now: float, draw: Draw
) -> DeliveryRow:
    """The row of a new delivery: everything sealed, nothing in the clear."""
    tk = draw(32)
    id = derived_id("dlv", order.client_id, order.job_id, order.plan.round, order.attempt)
    expires_at = now + DELIVERY_LIFETIME_S
    header = _header(order, id, tk, url, expires_at)
    envelope = seal_manifest(header, _body(order, id, pack, tk, keys), tk, keys.manifest)
    digest = manifest_digest(envelope)
    return DeliveryRow(
        id=id,
        client_id=order.client_id,
        job_id=order.job_id,
        profile_id=order.profile.id,
        round=order.plan.round,
        attempt=order.attempt,
        version=order.version,
        family_digest=order.model.family_digest,
        chunks=pack.chunks,
        train_after=begin_after(order, pack),
        envelope=envelope,
        envelope_digest=digest,
        wrapped_key=hpke_seal(keys.cluster.public, tk, key_context(id)),
        server_key_number=SERVER_KEY,
        record_bytes=RECORD_BYTES,
        expected_acks=expected_acks(tk, keys.acks, id, order.attempt, len(pack.chunks), digest),
        expires_at=expires_at,
    )


def _header(
    order: CompressOrder, id: str, tk: bytes, url: str, expires_at: float
) -> ManifestHeader:
    return ManifestHeader(
        client_id=order.client_id,
        job_id=order.job_id,
        profile_id=order.profile.id,
        delivery_id=id,
        attempt=order.attempt,
        version=order.version,
        expires_at=expires_at,
        chunk_urls=(url,),
        wrapped_key=wrap_transfer_key(
            tk, order.receive_key, order.client_id, order.job_id, id, order.version
        ),
        commitment=commitment(tk),
    )


def _body(order: CompressOrder, id: str, pack: Pack, tk: bytes, keys: ServerKeys) -> ManifestBody:
    model = order.model
    chunks = [
        ManifestChunk(
            chunk=chunk,
            payload_digest=payload_digest(tk, keys, place_of(order, id, pack.chunks, i), payload),
            runs=runs_after(chunk.recipe),
        )
        for i, (chunk, payload) in enumerate(zip(pack.chunks, payloads(pack), strict=True))
    ]
    needed = set(map(made_recipe, order.plan.chunks))
    return ManifestBody(
        profile_revision=order.profile.revision,
        base_version=order.version - 1,
        plan_digest=order.plan.fingerprint(),
        student=order.plan.student,
        card=ModelCard(
            architecture=model.architecture,
            preprocessing=model.preprocessing,
            labels=model.labels,
            transfer_inputs=model.transfer_inputs,
            transfer_input_count=model.transfer_input_count,
        ),
        chunks=tuple(chunks),
        held=tuple(chunk for chunk in order.held if chunk.recipe in needed),
        train_after=begin_after(order, pack),
        storage_bytes=order.profile.spec.storage_bytes,
        previous_manifest=order.previous_manifest,
    )


def begin_after(order: CompressOrder, pack: Pack) -> int:
    """The chunk of the delivery after which its device can begin to train."""
    return train_after(order.plan.chunks, [chunk.recipe for chunk in pack.chunks])


def place_of(
    order: CompressOrder, id: str, chunks: Sequence[KnowledgeChunk], index: int
) -> ChunkPlace:
    return ChunkPlace(order.client_id, id, order.attempt, index, chunks[index].length)


def payload_digest(tk: bytes, keys: ServerKeys, place: ChunkPlace, payload: memoryview) -> str:
    digest, _ = sealed_chunk(tk, keys.acks, place, payload)
    return digest.hex()


def payloads(pack: Pack) -> list[memoryview]:
    """The plaintext of each chunk, in order."""
    whole = memoryview(pack.payload)
    return [whole[start:stop] for start, stop in pack.ranges]


def missing(order: CompressOrder) -> tuple[ChunkRecipe, ...]:
    """The plan's chunks that the device does not hold, in order."""
    held = {chunk.recipe for chunk in order.held}
    return tuple(recipe for recipe in order.plan.chunks if made_recipe(recipe) not in held)


def runs_after(recipe: ChunkRecipe) -> Student | None:
    """The student that can run after a chunk."""
    made = made_recipe(recipe)
    return made.student if isinstance(made, WeightsRecipe) else None
