"""`python -m edge_sim.wrist FOLDER [--seed N] [--epochs N]`: the demo's data as files, for the
command and for devices of one's own: the owner's folder, the public windows, three people.
"""

import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
import yaml
from rich.console import Console
from rich.progress import Progress

from edge_sim.wrist import data, owner
from edge_sim.wrist.central import EPOCHS
from edge_sim.wrist.owner import Registration
from stillhouse.cli.models import FILES

PARTS = ("train", "validation", "test")  # no rule of the product reads the last
COLUMNS = 100  # where there is no terminal to ask


def files(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="made if missing")],
    seed: Annotated[int, typer.Option(min=0, help="who is who")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="of the central model")] = EPOCHS,
) -> None:
    """Train the central model of a seed; write what `stillhouse models add` and `edge run` take."""
    torch.set_num_threads(1)
    console = Console() if sys.stdout.isatty() else Console(width=COLUMNS)
    with Progress(console=console) as progress:
        task = progress.add_task("train the central model", total=1.0)

        def heard(share: float) -> None:
            progress.update(task, completed=share)

        registration = owner.prepare(seed, heard, epochs)
    write_owner(folder / "owner", registration)
    (folder / "windows.bin").write_bytes(registration.public_windows)
    write_people(folder, seed)
    console.print(f"written: {folder}", highlight=False, soft_wrap=True)


def write_owner(folder: Path, registration: Registration) -> None:
    """What `stillhouse models add` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "architecture": registration.architecture.model_dump(mode="json"),
        "preprocessing": registration.preprocessing.model_dump(mode="json"),
        "labels": list(registration.labels),
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for name, content in registration.files().items():
        (folder / FILES[name]).write_bytes(content)


def write_people(folder: Path, seed: int) -> None:
    """A folder for each client."""
    everyone = data.read()
    for place, person in enumerate(data.people(seed).clients):
        own = data.client(everyone, person, seed)
        target = folder / f"person-{place}"
        target.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            (target / f"{part}.parquet").write_bytes(getattr(own, part).to_parquet())


if __name__ == "__main__":
    typer.run(files)
