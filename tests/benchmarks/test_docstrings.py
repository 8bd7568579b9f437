"""Which sentences of a docstring are taken for text."""

from pathlib import Path

import pytest

from benchmarks.knowledge.docstrings import A_MODULE, _prose, _sentences


@pytest.mark.parametrize(
    ("paragraph", "found"),
    [
        (
            "Returns a new graph that holds all\nnodes of both. See below.",
            ["Returns a new graph that holds all nodes of both."],
        ),
        (
            "Uses :class:`~Tensor` and ``numpy`` to find the `mean` of both.",
            ["Uses Tensor and numpy to find the mean of both."],
        ),
        ("The value x = y + 1 is what this function gives back to you.", []),
        ("Returns ------- the number of nodes of this graph as one number.", []),
    ],
)
def test_prose_is_taken_without_its_markup_and_code_is_not(
    paragraph: str, found: list[str]
) -> None:
    assert list(_prose(paragraph)) == found


def test_a_module_is_parsed_and_never_run(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""All nodes of this graph are colours of the old map."""\n'
        "raise SystemExit\n"
        "def f():\n"
        '    """This gives back all the edges that were drawn before."""\n'
    )
    assert len(list(_sentences(module))) == 2 < A_MODULE
