"""A pack: the payloads of a round's chunks as one object, each found by its byte range."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import TypeAdapter, ValidationError

from stillhouse.compress.behaviour import behaviour_chunk
from stillhouse.compress.container import Family
from stillhouse.compress.deltas import make_delta
from stillhouse.compress.slices import chunk_layout, weights_chunk
from stillhouse.entities import (
    BehaviourRecipe,
    ChunkRecipe,
    DeltaRecipe,
    Digest,
    KnowledgeChunk,
    WeightsRecipe,
)
from stillhouse.errors import VerificationFailed

CHUNKS: TypeAdapter[tuple[KnowledgeChunk, ...]] = TypeAdapter(tuple[KnowledgeChunk, ...])


@dataclass(frozen=True, slots=True)
class Pack:
    """`chunks[i]` is `payload[ranges[i][0]:ranges[i][1]]`."""

    payload: bytes
    chunks: tuple[KnowledgeChunk, ...]
    ranges: tuple[tuple[int, int], ...]

    def to_bytes(self) -> bytes:
        """The chunks' description as JSON behind its length (4 bytes, big-endian), the payload."""
        head = CHUNKS.dump_json(self.chunks)
        return len(head).to_bytes(4, "big") + head + self.payload

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises VerificationFailed for a chunk whose bytes are not what its digest says."""
        start = 4 + int.from_bytes(data[:4], "big")
        try:
            chunks = CHUNKS.validate_json(data[4:start])
        except ValidationError:
            raise VerificationFailed("a pack's head cannot be read") from None
        pack = cls(data[start:], chunks, spans(chunks))
        for chunk, (first, last) in zip(chunks, pack.ranges, strict=True):
            if hashlib.sha256(pack.payload[first:last]).hexdigest() != chunk.digest:
                raise VerificationFailed(f"chunk {chunk.digest[:8]} of a pack does not verify")
        return pack

    def digest(self) -> str:
        """SHA-256 of the payload, hexadecimal: the pack's content digest."""
        return hashlib.sha256(self.payload).hexdigest()


def build_pack(
    family: Family, recipes: Sequence[ChunkRecipe], before: Mapping[Digest, Family] | None = None
) -> Pack:
    """The same bytes on every run and machine.

    `before` has the families whose chunks deltas change, by digest; Invalid if a chunk of theirs
    has another layout than this family's.
    """
    built = [_chunk(family, recipe, before or {}) for recipe in recipes]
    chunks = tuple(chunk for chunk, _ in built)
    return Pack(b"".join(payload for _, payload in built), chunks, spans(chunks))


def update_share(before: Family, family: Family) -> float:
    """Bytes of deltas from `before`, the family that this one updates, against their chunks: over
    the quantised corners of the grid, each as one chunk."""
    corners = (each for each in family.header.grid.probes() if each in family.statistics)
    recipes = [WeightsRecipe(base=None, student=student) for student in corners]
    deltas = [
        _delta(family, DeltaRecipe(family=before.digest, of=each), before)[0] for each in recipes
    ]
    whole = sum(chunk.makes_length or 0 for chunk in deltas)
    return min(1.0, sum(chunk.length for chunk in deltas) / whole) if whole else 1.0


def spans(chunks: Sequence[KnowledgeChunk]) -> tuple[tuple[int, int], ...]:
    """The byte range of each chunk in the payload."""
    stops = tuple(itertools.accumulate(chunk.length for chunk in chunks))
    return tuple(zip((0, *stops), stops, strict=False))


def _chunk(
    family: Family, recipe: ChunkRecipe, before: Mapping[Digest, Family]
) -> tuple[KnowledgeChunk, bytes]:
    match recipe:
        case WeightsRecipe():
            payload = weights_chunk(family, recipe)
        case BehaviourRecipe():
            payload = behaviour_chunk(family, recipe)
        case DeltaRecipe():
            return _delta(family, recipe, before[recipe.family])
    return KnowledgeChunk(recipe=recipe, digest=_digest(payload), length=len(payload)), payload


def _delta(family: Family, recipe: DeltaRecipe, before: Family) -> tuple[KnowledgeChunk, bytes]:
    header, of = family.header, recipe.of
    old, new = weights_chunk(before, of), weights_chunk(family, of)
    payload = make_delta(old, new, chunk_layout(header.architecture, header.grid.widths, of))
    chunk = KnowledgeChunk(
        recipe=recipe,
        digest=_digest(payload),
        length=len(payload),
        base=_digest(old),
        makes=_digest(new),
        makes_length=len(new),
    )
    return chunk, payload


def _digest(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()
