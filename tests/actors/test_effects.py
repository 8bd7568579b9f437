"""What a failed effect tells its job: the words of what went wrong, wherever it did."""

import pytest
from ray.exceptions import RayTaskError

from actors.effects import said
from stillhouse.compress.container import EARLIER
from stillhouse.errors import UnsupportedFormat

UNREADABLE = UnsupportedFormat(EARLIER)


@pytest.mark.parametrize(
    "error",
    [
        UNREADABLE,
        RayTaskError("compress", "Traceback\n" * 99, UNREADABLE).as_instanceof_cause(),
    ],
    ids=["its own", "of a task"],
)
def test_a_family_of_an_earlier_release_is_named_in_a_jobs_failure(error: Exception) -> None:
    assert said(error).startswith("UnsupportedFormat: this family was built by an earlier release")
    assert "register its central model again" in said(error)
    assert "Traceback" not in said(error)


def test_long_words_are_cut() -> None:
    assert len(said(ValueError("x" * 9_000))) == 500
