"""Who is at work on a file: flock, so that the lock of a killed process is free at once."""

from __future__ import annotations

import fcntl
from typing import IO


def lock(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed; False if another one has it locked.

    Raises OSError where the file system knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
