"""Public windows: small errors, exact bytes, no other bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.compress.windows import PublicWindows
from stillhouse.errors import VerificationFailed

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


@given(data=st.one_of(st.binary(max_size=64), st.integers(0, len(DATA) - 1).map(DATA.__getitem__)))
def test_other_bytes_are_refused(data) -> None:
    with pytest.raises(VerificationFailed):
        PublicWindows.from_bytes(data if isinstance(data, bytes) else DATA[:data])


@pytest.mark.parametrize("scale", [b"\0\0\0\0", b"\0\0\xc0\x7f", b"\0\0\x80\xbf"])
def test_a_scale_that_is_no_positive_number_is_refused(scale: bytes) -> None:
    with pytest.raises(VerificationFailed):
        PublicWindows.from_bytes(DATA[:12] + scale + DATA[16:])
