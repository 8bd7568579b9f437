"""What a person sees while a run goes on: the stage, progress of the long steps, each device."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from edge_sim.host import Standing
from stillhouse.sdk import Version


class Live:
    """Progress bars where there is a terminal, plain lines where there is none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._train = self._progress.add_task("central model (its owner)", total=1.0, note="")
        self._build = self._progress.add_task("family (the system)", total=1.0, note="waits")
        self._rows: dict[str, TaskID] = {}
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def stage(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, style="bold")

    def training(self, share: float) -> None:
        self._progress.update(self._train, completed=share)

    def building(self, version: Version) -> None:
        share = 1.0 if version.state == "AVAILABLE" else version.build_progress
        self._progress.update(self._build, completed=share, note=version.state.lower())
        self._say("family", f"{version.state}: {version.why}")

    def devices(self, standings: Sequence[Standing]) -> None:
        for standing in standings:
            note = f"{standing.doing}  {standing.wire_bytes / 1000:.0f} kB on the wire"
            if standing.name not in self._rows:
                self._rows[standing.name] = self._progress.add_task(
                    f"device {standing.name}", total=None, note=note
                )
            self._progress.update(self._rows[standing.name], note=note)
            self._say(standing.name, standing.doing)

    def _say(self, who: str, what: str) -> None:
        """For a log: each news once."""
        if not self._console.is_terminal and self._said.get(who) != what:
            self._said[who] = what
            self._console.print(f"  {who}: {what}")
