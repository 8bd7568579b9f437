"""Records: the same bytes every time, from any record; nothing dropped, moved, cut or added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import VerificationFailed
from stillhouse.wire.frame import TAG_BYTES, Frame, FrameReader, open_all, seal

KEY = bytes(range(32))
HEADER = b"what this is for"


def sealed(data: bytes, record: int = 8, header: bytes = HEADER, first: int = 0) -> list[bytes]:
    frame = Frame(header, len(data), record)
    return [bytes(part) for part in seal(frame, KEY, memoryview(data), first)]


@given(st.binary(max_size=100), st.integers(1, 33), st.data())
def test_what_was_sealed_comes_out_however_the_bytes_are_split(
    data: bytes, record: int, pieces: st.DataObject
) -> None:
    wire = b"".join(sealed(data, record))
    frame = Frame(HEADER, len(data), record)
    assert len(wire) == frame.wire_length
    cuts = sorted(pieces.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    reader = FrameReader(frame, KEY)
    parts = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert b"".join(r for part in parts for r in reader.feed(part)) == data
    assert reader.complete


@given(st.binary(min_size=1, max_size=100), st.integers(1, 33), st.data())
def test_sealing_again_from_any_record_gives_the_same_bytes(
    data: bytes, record: int, which: st.DataObject
) -> None:
    whole = sealed(data, record)
    first = which.draw(st.integers(0, len(whole) - 1))
    assert sealed(data, record, first=first) == whole[first:]


def test_a_cut_in_mid_record_resumes_at_that_record() -> None:
    data = bytes(range(40))
    records = sealed(data)
    frame = Frame(HEADER, len(data), 8)
    reader = FrameReader(frame, KEY)
    got = b"".join(reader.feed(records[0] + records[1] + records[2][:5]))
    assert reader.resume() == 2
    got += b"".join(r for record in sealed(data, first=2) for r in reader.feed(record))
    assert got == data


def test_every_flipped_byte_is_refused() -> None:
    wire = bytearray(b"".join(sealed(bytes(20))))
    for place in range(len(wire)):
        wire[place] ^= 0x80
        with pytest.raises(VerificationFailed):
            open_all(Frame(HEADER, 20, 8), KEY, bytes(wire))
        wire[place] ^= 0x80


def test_dropped_doubled_swapped_cut_and_added_records_are_refused() -> None:
    a, b, c = sealed(bytes(24))
    frame = Frame(HEADER, 24, 8)
    for wrong in ([a, b], [b, c], [a, c], [a, a, c], [b, a, c], [a, b, c, c], [a, b, c, b"x"]):
        with pytest.raises(VerificationFailed):
            open_all(frame, KEY, b"".join(wrong))


def test_a_shorter_claim_does_not_make_an_inner_record_the_last_one() -> None:
    a, b, _ = sealed(bytes(24))
    with pytest.raises(VerificationFailed):
        open_all(Frame(HEADER, 16, 8), KEY, a + b)


def test_records_of_another_purpose_are_refused() -> None:
    wire = b"".join(sealed(bytes(24), header=b"another"))
    with pytest.raises(VerificationFailed):
        open_all(Frame(HEADER, 24, 8), KEY, wire)


def test_an_empty_string_is_one_sealed_record() -> None:
    [only] = sealed(b"")
    assert len(only) == TAG_BYTES
    assert open_all(Frame(HEADER, 0, 8), KEY, only) == b""
    with pytest.raises(VerificationFailed):
        open_all(Frame(HEADER, 0, 8), KEY, b"")


def test_there_is_no_record_beyond_the_last() -> None:
    with pytest.raises(VerificationFailed, match="there are 3"):
        sealed(bytes(24), first=3)
