"""`python -m edge_sim SCENARIO [--json FILE] [--seed N]`: run a scenario, show what came of it.

Exit codes: 0 as expected, 1 failed, 3 a verdict or byte share is not what the scenario demands.
"""

import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from pydantic import ValidationError
from rich.console import Console

from edge_sim.demo import play
from edge_sim.live import Live
from edge_sim.picture import draw
from edge_sim.report import baseline_table, closing_lines, table
from edge_sim.scenario import Scenario
from stillhouse.wire.problems import in_words

TARGET_MISSED = 3
DEMO = Path("configs/scenarios/demo.yaml")
LOG_COLUMNS = 190  # where there is no terminal to ask


def demo(
    scenario: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML")] = DEMO,
    json: Annotated[Path | None, typer.Option(help="write the report here")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="other people: another split")] = None,
    chaos: Annotated[
        bool, typer.Option("--chaos", help="kill -9 one process of each kind")
    ] = False,
    chaos_seed: Annotated[int, typer.Option(min=0, help="of the moments of the kills")] = 0,
    baselines: Annotated[bool, typer.Option(help="compare with what else could be done")] = True,
    picture: Annotated[Path | None, typer.Option(help="write the picture here (PNG)")] = None,
) -> None:
    """Run a scenario from profile to verdict."""
    torch.set_num_threads(1)
    console = Console() if sys.stdout.isatty() else Console(width=LOG_COLUMNS)
    try:
        wanted = Scenario.load(scenario)
    except ValidationError as error:
        raise typer.BadParameter(f"{scenario} is no scenario: {in_words(error)}") from None
    if seed is not None:
        wanted = wanted.with_seed(seed)
    if not baselines:
        wanted = wanted.model_copy(update={"baselines": False})
    with Live(console) as live:
        report = play(wanted, Path(".stillhouse"), live, chaos_seed if chaos else None)
    console.print(table(report))
    if wanted.baselines:
        console.print(baseline_table(report))
    for line in closing_lines(report):
        console.print(line, highlight=False, soft_wrap=True)
    image = picture or Path(".stillhouse") / f"{wanted.name}-seed-{wanted.seed}.png"
    draw(report, image)
    console.print(f"picture: {image}", highlight=False)
    if json is not None:
        json.write_text(report.model_dump_json(indent=2))
    if not report.kept:
        raise typer.Exit(TARGET_MISSED)


if __name__ == "__main__":
    typer.run(demo)
