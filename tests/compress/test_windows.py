"""Public windows: small errors, exact bytes, no other bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.compress.windows import PublicWindows
from stillhouse.errors import Invalid, VerificationFailed

X = np.random.default_rng(0).standard_normal((5, 3, 16)).astype(np.float32)
WINDOWS = PublicWindows.quantise(X)
DATA = WINDOWS.to_bytes()


def test_values_are_within_half_a_step() -> None:
    assert (np.abs(WINDOWS.values() - X) <= WINDOWS.scales[:, None] * 0.5001).all()


def test_bytes_are_read_back_and_cost_one_a_value() -> None:
    again = PublicWindows.from_bytes(DATA)
    assert again.to_bytes() == DATA
    assert again.digest() == WINDOWS.digest()
    assert len(DATA) == 12 + 3 * 4 + X.size


IDS = np.random.default_rng(0).integers(0, 30_522, (4, 1, 16)).astype(np.float32)


def test_ids_are_kept_exactly_in_two_bytes() -> None:
    ids = PublicWindows.quantise(IDS, discrete=True)
    again = PublicWindows.from_bytes(ids.to_bytes())
    np.testing.assert_array_equal(again.values(), IDS)
    assert again.digest() == ids.digest()
    assert len(ids.to_bytes()) == 12 + 4 + 2 * IDS.size
    chosen = PublicWindows.choose(IDS, 2, discrete=True)
    np.testing.assert_array_equal(chosen.values(), IDS[[0, 3]])


@pytest.mark.parametrize("value", [-1, 0.5, 65_536, np.nan])
def test_what_is_no_id_is_refused(value: float) -> None:
    with pytest.raises(Invalid):
        PublicWindows.quantise(np.full((1, 1, 2), value, np.float32), discrete=True)


def test_ids_are_never_scaled() -> None:
    data = PublicWindows.quantise(IDS, discrete=True).to_bytes()
    with pytest.raises(VerificationFailed):
        PublicWindows.from_bytes(data[:12] + np.float32(2).tobytes() + data[16:])


@given(data=st.one_of(st.binary(max_size=64), st.integers(0, len(DATA) - 1).map(DATA.__getitem__)))
def test_other_bytes_are_refused(data) -> None:
    with pytest.raises(VerificationFailed):
        PublicWindows.from_bytes(data if isinstance(data, bytes) else DATA[:data])


@pytest.mark.parametrize("scale", [b"\0\0\0\0", b"\0\0\xc0\x7f", b"\0\0\x80\xbf"])
def test_a_scale_that_is_no_positive_number_is_refused(scale: bytes) -> None:
    with pytest.raises(VerificationFailed):
        PublicWindows.from_bytes(DATA[:12] + scale + DATA[16:])
