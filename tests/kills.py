"""A real kill: the action runs in a process of its own, which ends just before its n-th rename."""

import os
import sys
from collections.abc import Callable

KILLED = 9


def killed_at_rename(number: int, action: Callable[[], object]) -> bool:
    """Whether the kill came: False if the action ended before as many renames."""
    child = os.fork()
    if child == 0:
        left = number

        def hook(event: str, _: object) -> None:
            nonlocal left
            if event == "os.rename":
                left -= 1
                if left == 0:
                    os._exit(KILLED)

        sys.addaudithook(hook)
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED), "the action failed"
    return status == KILLED
