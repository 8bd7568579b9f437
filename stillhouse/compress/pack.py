"""A pack: the payloads of a round's chunks as one object, each found by its byte range."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import TypeAdapter, ValidationError

from stillhouse.compress.behaviour import behaviour_chunk
from stillhouse.compress.container import Family
from stillhouse.compress.slices import weights_chunk
from stillhouse.entities import ChunkRecipe, KnowledgeChunk, WeightsRecipe
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


def build_pack(family: Family, recipes: Sequence[ChunkRecipe]) -> Pack:
    """The same bytes on every run and machine."""
    payloads = [_chunk(family, recipe) for recipe in recipes]
    chunks = tuple(
        KnowledgeChunk(
            recipe=recipe, digest=hashlib.sha256(payload).hexdigest(), length=len(payload)
        )
        for recipe, payload in zip(recipes, payloads, strict=True)
    )
    return Pack(b"".join(payloads), chunks, spans(chunks))


def spans(chunks: Sequence[KnowledgeChunk]) -> tuple[tuple[int, int], ...]:
    """The byte range of each chunk in the payload."""
    stops = tuple(itertools.accumulate(chunk.length for chunk in chunks))
    return tuple(zip((0, *stops), stops, strict=False))


def _chunk(family: Family, recipe: ChunkRecipe) -> bytes:
    if isinstance(recipe, WeightsRecipe):
        return weights_chunk(family, recipe)
    return behaviour_chunk(family, recipe)
