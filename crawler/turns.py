"""A few threads at a time, for work from which more of them gain nothing.

Pure Python runs in one thread at a time anyway, by its global lock (the GIL). Work that gives the
lock away and takes it again for every little step, in many threads at once, spends most of its time
on that. Where much of it is done without the lock, as many as there are cores can be at it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Gives threads their turns, `at_once` of them at a time.

    Once no turn has begun for `longest` seconds, others go on beside those that have one: nobody
    waits for what is slow.
    """

    def __init__(self, longest: float, at_once: int = 1) -> None:
        self._longest = longest
        self._free = threading.Semaphore(at_once)
        self._began = time.monotonic()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, and have it for the block."""
        has_turn = self._free.acquire(blocking=False)
        while not has_turn and (left := self._began + self._longest - time.monotonic()) > 0:
            has_turn = self._free.acquire(timeout=left)
        if not has_turn:
            yield
            return
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._free.release()
