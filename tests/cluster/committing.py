"""Commits in a loop until it is killed, and says each commit's number once it is acknowledged."""

import sys
from itertools import count
from pathlib import Path

from cluster.journal.contract import Commit, JournalIdentity, StoredAnswer
from cluster.journal.sqlite import SqliteJournal

IDENTITY = JournalIdentity("cluster", "shard-0", 1, 1)


def numbered(number: int) -> Commit:
    """A commit that touches every table; its number stands in two rows and two events."""
    data = b"%d" % number
    return Commit(
        now=float(number),
        events=(("story", data), ("story", data)),
        rows={"last": data, f"row/{number}": data},
        answers=(StoredAnswer(f"key/{number}", "digest", 200, data),),
    )


def main(path: Path) -> None:
    journal = SqliteJournal(path, IDENTITY)
    first = int(journal.load(["last"]).get("last", b"0")) + 1
    for number in count(first):
        journal.commit(numbered(number))
        print(number, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
