"""Power cuts, I/O errors and a full disk at every write and sync of a story of fifty transitions.

`cuts` opens what each power cut leaves: every acknowledged batch must be there, one that was not
whole or not at all, none twice, and the next is taken. `errors` runs the story on a disk that fails
at one step or from it on: the batch is answered 503 and, sent again when the disk is well, as ever.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw

from benchmarks.faulty_vfs import Disk, Fault, Tear, after_cut
from benchmarks.storage_run import (
    NAME,
    VFS,
    Recording,
    clear,
    hasty,
    lay_out,
    record,
    sound,
    state,
    stores,
    tell,
)
from benchmarks.storage_script import IDENTITY, RULES, Batch
from cluster.journal import sqlite
from cluster.journal.sqlite import SqliteJournal
from cluster.store import Store
from stillhouse.errors import JournalMissing, StillhouseError

CUT = (Tear.DROPPED, Tear.TORN, Tear.SHUFFLED)
FAULTS: Mapping[str, Callable[[int], Fault]] = {
    "one error": lambda at: Fault(at, apsw.IOError),
    "errors until healed": lambda at: Fault(at, apsw.IOError, lasting=True),
    "dead until healed": lambda at: Fault(at, apsw.IOError, lasting=True, reads=True),
    "full once": lambda at: Fault(at, apsw.FullError),
    "full until healed": lambda at: Fault(at, apsw.FullError, lasting=True),
}


@dataclass(slots=True)
class Result:
    """What a run found; `lost`, `corrupt`, `doubled` and `unwell` must be 0."""

    points: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  # where the power was cut
    lost: int = 0  # an acknowledged batch is not there
    corrupt: int = 0  # the journal does not open, is damaged, or holds a part of a batch
    doubled: int = 0  # a batch that was sent again did not lead to the same state and answers
    unwell: int = 0  # an error that is not JournalUnavailable, or that stays when the disk is well
    stories: list[str] = field(default_factory=list)  # of what went wrong

    def note(self, kind: str, wrong: str | None, where: str) -> None:
        self.points += 1
        self.kinds[kind] += 1
        if wrong is not None:
            setattr(self, wrong, getattr(self, wrong) + 1)
            self.stories.append(f"{wrong}: {where}")

    def plus(self, other: "Result") -> "Result":
        return Result(
            self.points + other.points,
            self.kinds + other.kinds,
            self.lost + other.lost,
            self.corrupt + other.corrupt,
            self.doubled + other.doubled,
            self.unwell + other.unwell,
            self.stories + other.stories,
        )


def run_all(folder: Path | None = None) -> Result:
    """Every step, every tear, every fault, and every cut while a journal is made."""
    with TemporaryDirectory(dir=folder) as place:
        recording = record(Path(place))
        return cuts(recording).plus(errors(recording)).plus(cuts_of_initialise())


# --- power cuts ----------------------------------------------------------------------------------


def cuts(recording: Recording, points: Sequence[int] | None = None) -> Result:
    """Cut the power after so many steps, or before and after every one, in all three tear modes."""
    result = Result()
    with TemporaryDirectory() as place, hasty() as disk:
        for point in range(len(recording.steps) + 1) if points is None else points:
            for tear in CUT:
                folder = Path(place) / f"{point}-{tear}"
                files = after_cut(recording.files, recording.steps[:point], tear, seed=point)
                lay_out(folder, files)
                kind = recording.steps[point - 1].kind if point else "begin"
                wrong = judge(recording, folder / NAME, point)
                result.note(kind, wrong, f"cut after step {point} ({kind}), {tear}")
                clear(folder)
                disk.steps.clear()
    return result


def judge(recording: Recording, path: Path, point: int) -> str | None:
    """What is wrong with the journal that a cut after `point` steps left."""
    answered = sum(done <= point for done in recording.acknowledged) - 1
    try:
        journal = SqliteJournal(path, IDENTITY)
    except StillhouseError:
        return "corrupt"
    try:
        return held(recording, path, answered) or goes_on(recording, path, journal, answered)
    finally:
        journal.close()


def held(recording: Recording, path: Path, answered: int) -> str | None:
    """Lost, or corrupt, if the tables are not those after the batches that were answered."""
    if not sound(path) or (found := state(path)) not in recording.states:
        return "corrupt"
    batches = recording.states.index(found)
    if batches < answered:
        return "lost"
    return None if batches <= answered + 1 else "corrupt"


def goes_on(recording: Recording, path: Path, journal: SqliteJournal, answered: int) -> str | None:
    """Doubled, if the last batch sent again and the next one do not lead to where they led."""
    store = Store(RULES, journal)
    sent = recording.batches[max(0, answered - 1) : answered + 1]
    wrong = any(tell(store, batch) is not None for batch in sent)
    after = recording.states[min(answered + 1, len(recording.batches))]
    return "doubled" if wrong or state(path) != after else None


def cuts_of_initialise() -> Result:
    """Cut the power while a journal is made: it is there, or can be made again."""
    result = Result()
    with TemporaryDirectory() as place, hasty() as disk:
        sqlite.initialise(Path(place) / "made" / NAME, IDENTITY)
        steps = tuple(disk.steps)
        for point in range(len(steps) + 1):
            for tear in CUT:
                folder = Path(place) / f"{point}-{tear}"
                lay_out(folder, after_cut({}, steps[:point], tear, seed=point))
                wrong = None if can_begin(folder / NAME) else "corrupt"
                result.note("initialise", wrong, f"cut after step {point} of initialise, {tear}")
                clear(folder)
                disk.steps.clear()
    return result


def can_begin(path: Path) -> bool:
    """Whether the journal opens, if need be after it is made again."""
    try:
        try:
            SqliteJournal(path, IDENTITY).close()
        except JournalMissing:
            sqlite.initialise(path, IDENTITY)
            SqliteJournal(path, IDENTITY).close()
    except (StillhouseError, apsw.Error):
        return False
    return sound(path)


# --- errors --------------------------------------------------------------------------------------


def errors(recording: Recording, points: Sequence[int] | None = None) -> Result:
    """Fail at these steps, or at every one, once and until healed, by I/O error and full disk."""
    result, disk = Result(), Disk(VFS)
    with TemporaryDirectory() as place, hasty() as judging:
        for at in range(len(recording.steps)) if points is None else points:
            for name, fault in FAULTS.items():
                folder = Path(place) / f"{at}-{name}"
                lay_out(folder, recording.files)
                disk.steps.clear()
                disk.fault = fault(at)
                result.note(name, endures(recording, folder / NAME, disk), f"{name}, at {at}")
                clear(folder)
                judging.steps.clear()
    disk.unregister()
    return result


def endures(recording: Recording, path: Path, disk: Disk) -> str | None:
    """What is wrong with a run of the whole story on a disk that fails and is then well again."""
    batches = recording.batches
    for number, store in enumerate(stores(path, len(batches), disk)):
        if tell(store, batches[number]) is not None:
            wrong = told_again(store, batches[number], disk) or kept(recording, disk, number + 1)
            if wrong is not None:
                return wrong
    if not sound(path):
        return "corrupt"
    return None if state(path) == recording.states[-1] else "doubled"


def told_again(store: Store, batch: Batch, disk: Disk) -> str | None:
    """The batch was not answered as ever: it must be 503 while the disk fails, then as ever."""
    fault, disk.fault = disk.fault, None
    if fault is None or not fault.met:
        return "unwell"
    if fault.lasting:
        disk.fault = fault
        if tell(store, batch) != "unwell":
            return "lost"
        disk.fault = None
    return tell(store, batch)


def kept(recording: Recording, disk: Disk, answered: int) -> str | None:
    """Lost or corrupt, if a power cut right after the answer to the batch that failed takes it."""
    for tear in Tear:
        with TemporaryDirectory() as place:
            lay_out(Path(place) / "cut", after_cut(recording.files, disk.steps, tear))
            if wrong := held(recording, Path(place) / "cut" / NAME, answered):
                return wrong
    return None
