"""`models from-huggingface`: a directory and texts become what `models add` registers."""

import json
from pathlib import Path

import pytest
import tiny_bert
import typer
from typer.testing import CliRunner

from stillhouse import cli
from stillhouse.cli import models
from stillhouse.compress.family import build_family
from stillhouse.compress.recordings import Recordings

pytest.importorskip("tokenizers", reason="the extra `text`")
TEXTS = ["the still house", "house the still", "still", "the house", "house", "still the"]


def given(folder: Path) -> dict[str, Path]:
    """A model's directory, unlabelled texts, and labelled ones of two topics and two sources."""
    model, transfer, evaluation = (folder / name for name in ("model", "transfer.txt", "e.jsonl"))
    model.mkdir()
    tiny_bert.write(model)
    transfer.write_text("\n".join(TEXTS) + "\n\n")
    rows = [
        {"text": text, "label": ("work", "home")[i % 2], "source": f"book {i % 3}"}
        for i, text in enumerate(TEXTS)
    ]
    evaluation.write_text("\n".join(map(json.dumps, rows)))
    return {"model": model, "transfer": transfer, "evaluation": evaluation}


def run(folder: Path, at: dict[str, Path]) -> tuple[int, str]:
    files = ["--transfer", str(at["transfer"]), "--evaluation", str(at["evaluation"])]
    command = ["models", "from-huggingface", str(at["model"]), str(folder / "made"), *files]
    result = CliRunner().invoke(cli.app, [*command, "--max-tokens", "6"])
    return result.exit_code, result.output


def test_a_directory_becomes_a_central_model_whose_family_can_be_built(tmp_path: Path) -> None:
    code, output = run(tmp_path, given(tmp_path))
    assert code == 0
    assert "6 texts to transfer, 6 to evaluate on" in output
    spec, files = models.read(tmp_path / "made")
    assert spec.labels == ("home", "work")
    assert set(files) == {"weights", "transfer", "evaluation"}
    evaluation = Recordings.from_parquet(files["evaluation"])
    assert sorted(set(evaluation.sources)) == [0, 1, 2]
    assert spec.grid is not None
    short = spec.model_copy(update={"family": spec.family.model_copy(update={"steps": 1})})
    transfer = Recordings.from_parquet(files["transfer"])
    family = build_family(files["weights"], short, None, transfer, (0.5, 0.1), spec.grid, seed=0)
    assert family.table.embeds
    assert {row.student.depths for row in family.table.rows} == {(1,), (2,)}


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    at = given(tmp_path)
    at["evaluation"].write_text('{"text": "still", "label": "work", "source": "b"}\n{"text": ""}')
    code, output = run(tmp_path, at)
    assert code == 2
    assert "line 2" in output


def test_pickled_weights_are_refused_with_the_reason(tmp_path: Path) -> None:
    at = given(tmp_path)
    (at["model"] / "model.safetensors").rename(at["model"] / "pytorch_model.bin")
    code, output = run(tmp_path, at)
    assert code == 4
    assert "pytorch_model.bin" in output
    assert not (tmp_path / "made").exists()


def test_weights_that_torch_saved_are_refused_before_they_are_uploaded(tmp_path: Path) -> None:
    run(tmp_path, given(tmp_path))
    (tmp_path / "made" / "weights.safetensors").write_bytes(b"PK\x03\x04 an archive")
    with pytest.raises(typer.BadParameter, match="zip archive"):
        models.read(tmp_path / "made")
