"""Packs: each chunk where its range says, the same bytes on every run."""

import hashlib

import pytest
from tiny import GRID, family, student

from stillhouse.chunks import chunks_for
from stillhouse.compress.container import Family
from stillhouse.compress.pack import Pack, build_pack
from stillhouse.errors import VerificationFailed

RECIPES = chunks_for(family().table, student(1, 2, 1), windows=20)


def test_each_chunk_stands_where_its_range_says() -> None:
    pack = build_pack(family(), RECIPES)
    assert tuple(chunk.recipe for chunk in pack.chunks) == RECIPES
    end = 0
    for chunk, (start, stop) in zip(pack.chunks, pack.ranges, strict=True):
        payload = pack.payload[start:stop]
        assert (start, len(payload)) == (end, chunk.length)
        assert hashlib.sha256(payload).hexdigest() == chunk.digest
        end = stop
    assert end == len(pack.payload)


def test_a_rebuild_from_the_stored_family_has_the_same_digest() -> None:
    stored = Family.from_bytes(family().to_bytes())
    assert build_pack(stored, RECIPES) == build_pack(family(), RECIPES)


def test_the_table_foretells_the_bytes_of_the_weights() -> None:
    pack = build_pack(family(), RECIPES)
    weights = sum(chunk.length for chunk in pack.chunks if chunk.recipe.kind == "weights")
    assert weights == family().table.facts(student(1, 2, 1)).wire_bytes
    assert student(1, 2, 1) in GRID.students()


def test_a_pack_is_read_back_and_every_changed_byte_of_it_is_noticed() -> None:
    pack = build_pack(family(), RECIPES)
    data = pack.to_bytes()
    assert Pack.from_bytes(data) == pack
    for at in (0, 10, len(data) - len(pack.payload), len(data) - 1):
        with pytest.raises(VerificationFailed):
            Pack.from_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
