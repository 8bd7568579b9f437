"""From a Hugging Face directory and texts to a folder that `models add` registers; no network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field, TypeAdapter, ValidationError

from stillhouse.cli.door import failing, out, reason
from stillhouse.cli.models import FILES
from stillhouse.entities import CentralModelSpec, Entity, FamilyGrid, FamilyRecipe, TrainingDefaults

GRID_WIDTHS = (0.5, 1.0)
FAMILY = FamilyRecipe(
    steps=120, labelled=0, unlabelled=32, optimiser="adamw", learning_rate=3e-4, weight_decay=0
)
TRAINING = TrainingDefaults(
    steps=60, batch=32, optimiser="adamw", learning_rate=5e-5, rotation_sd_rad=0, time_warp=0
)


class Text(Entity):
    """A line of a file of labelled texts; sources (a person, a document) never mix in a split."""

    text: str = Field(min_length=1)
    label: str = Field(min_length=1)
    source: str = Field(min_length=1)


TEXT: TypeAdapter[Text] = TypeAdapter(Text)
LabelledFile = Annotated[Path, typer.Option(exists=True, help='lines of {"text","label","source"}')]


def from_huggingface(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    into: Annotated[Path, typer.Argument(help="made; `models add NAME INTO` registers it")],
    transfer: Annotated[Path, typer.Option(exists=True, help="unlabelled texts, one a line")],
    evaluation: LabelledFile,
    max_tokens: Annotated[int, typer.Option(min=2, max=512)] = 64,
) -> None:
    """A BERT-like directory (config.json, model.safetensors, tokenizer.json) and texts become a
    central model that embeds: nothing of the directory is run."""
    from stillhouse.compress.huggingface import read_directory
    from stillhouse.compress.recordings import UNLABELLED

    with failing():
        model = read_directory(folder, max_tokens)
        labelled = list(lines(evaluation))
        plain = [line for line in transfer.read_text().splitlines() if line.strip()]
        labels = sorted({each.label for each in labelled})
        sources = sorted({each.source for each in labelled})
        evaluated = model.texts.recordings(
            [each.text for each in labelled],
            [labels.index(each.label) for each in labelled],
            [sources.index(each.source) for each in labelled],
        )
        unlabelled = model.texts.recordings(plain, [UNLABELLED] * len(plain), range(len(plain)))
    spec = CentralModelSpec(
        architecture=model.architecture,
        preprocessing=model.texts.preprocessing,
        labels=tuple(labels),
        grid=grid(model.architecture.kwargs.get("layers", 6)),
        family=FAMILY,
        training=TRAINING,
        files={},
    )
    into.mkdir(parents=True, exist_ok=True)
    (into / FILES["weights"]).write_bytes(model.weights)
    (into / FILES["transfer"]).write_bytes(unlabelled.to_parquet())
    (into / FILES["evaluation"]).write_bytes(evaluated.to_parquet())
    (into / "tokenizer.json").write_text(model.texts.tokenizer)
    document = spec.model_dump_json(indent=2, exclude={"files"})
    (into / "model.json").write_text(document)
    out.print(f"{into}: {len(plain)} texts to transfer, {len(labelled)} to evaluate on")


def grid(layers: object) -> FamilyGrid:
    """Half and all of the width; a third, half and all of the layers."""
    count = layers if isinstance(layers, int) else 6
    depths = sorted({max(1, count // 3), max(1, count // 2), count})
    return FamilyGrid(widths=GRID_WIDTHS, depths=(tuple(depths),), bits=(4, 8))


def lines(file: Path) -> Iterator[Text]:
    """Each line of the file; a usage error names the one that is wrong."""
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if line.strip():
            try:
                yield TEXT.validate_json(line)
            except ValidationError as error:
                raise typer.BadParameter(f"{file}, line {number}: {reason(error)}") from None
