"""Packs: each chunk where its range says, the same bytes on every run."""

import hashlib

import pytest
from tiny import family, student, updated

from stillhouse.chunks import Routes, chunks_for, made
from stillhouse.compress.container import Family
from stillhouse.compress.deltas import apply_delta
from stillhouse.compress.pack import Pack, build_pack, update_share
from stillhouse.entities import DeltaRecipe, WeightsRecipe
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


def test_the_table_foretells_the_bytes_of_each_chunk_within_one() -> None:
    routes = Routes(family().table)
    for chunk in build_pack(family(), RECIPES).chunks:
        if isinstance(chunk.recipe, WeightsRecipe):
            assert abs(routes.new_bytes(chunk.recipe) - chunk.length) <= 1


def test_a_delta_says_between_which_chunks_it_leads_and_makes_the_second() -> None:
    new, before = updated(), {family().digest: family()}
    weights = [recipe for recipe in RECIPES if isinstance(recipe, WeightsRecipe)]
    deltas = [DeltaRecipe(family=family().digest, of=recipe) for recipe in weights]
    old_pack, new_pack = build_pack(family(), weights), build_pack(new, weights)
    pack = build_pack(new, deltas, before)
    for index, chunk in enumerate(pack.chunks):
        old, wanted = old_pack.chunks[index], new_pack.chunks[index]
        assert chunk.base == old.digest
        assert made(chunk) == wanted
        made_bytes = apply_delta(part(old_pack, index), part(pack, index))
        assert made_bytes == part(new_pack, index)


def part(pack: Pack, index: int) -> bytes:
    start, stop = pack.ranges[index]
    return pack.payload[start:stop]


def test_a_pack_is_read_back_and_every_changed_byte_of_it_is_noticed() -> None:
    pack = build_pack(family(), RECIPES)
    data = pack.to_bytes()
    assert Pack.from_bytes(data) == pack
    for at in (0, 10, len(data) - len(pack.payload), len(data) - 1):
        with pytest.raises(VerificationFailed):
            Pack.from_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_what_an_update_costs_is_measured_on_deltas() -> None:
    share = update_share(family(), updated())
    assert 0 < share < 1
    assert update_share(family(), family()) < share
