"""What a person sees while a run goes on: the stage, progress of the long steps, each job's row."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live as Screen
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from stillhouse.sdk import Version

COLUMNS = ("device", "stage", "round", "chunks", "on the wire", "verdict")


@dataclass(frozen=True, slots=True)
class Row:
    """One job, as it is shown while it runs."""

    name: str
    doing: str
    round: int
    bytes_acknowledged: int
    bytes_promised: int
    wire_bytes: int
    verdict: str

    def cells(self) -> tuple[str, ...]:
        chunks = f"{kilobytes(self.bytes_acknowledged)} of {kilobytes(self.bytes_promised)} kB"
        rounds = str(self.round) if self.round else "-"
        wire = f"{kilobytes(self.wire_bytes)} kB"
        return self.name, self.doing, rounds, chunks, wire, self.verdict or "-"


class Live:
    """Bars and a table where there is a terminal, plain lines where there is none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._train = self._progress.add_task("central model (its owner)", total=1.0, note="")
        self._build = self._progress.add_task("family (the system)", total=1.0, note="waits")
        self._baselines = self._progress.add_task("baselines", total=1.0, note="wait")
        self._screen = Screen(self._progress, console=console, refresh_per_second=4)
        self._said: dict[str, str] = {}
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._screen.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._screen.stop()

    def stage(self, text: str) -> None:
        """One line that stays, behind the seconds since the start."""
        seconds = time.monotonic() - self._started
        self._console.print(f"{seconds:4.0f} s  {text}", style="bold", highlight=False)

    def training(self, share: float) -> None:
        self._progress.update(self._train, completed=share)

    def building(self, version: Version) -> None:
        share = 1.0 if version.state == "AVAILABLE" else version.build_progress
        self._progress.update(self._build, completed=share, note=version.state.lower())
        self._say("family", f"{version.state}: {version.why}")

    def jobs(self, rows: Sequence[Row]) -> None:
        table = Table(*COLUMNS, expand=False)
        for row in rows:
            table.add_row(*row.cells())
            self._say(row.name, f"{row.doing}  {row.verdict}".rstrip())
        self._screen.update(Group(self._progress, table))

    def baseline(self, name: str, share: float) -> None:
        self._progress.update(self._baselines, completed=share, note=name)

    def _say(self, who: str, what: str) -> None:
        """For a log: each news once."""
        if not self._console.is_terminal and self._said.get(who) != what:
            self._said[who] = what
            self._console.print(f"  {who}: {what}", highlight=False)


def kilobytes(count: int) -> str:
    return f"{count / 1000:.1f}"
