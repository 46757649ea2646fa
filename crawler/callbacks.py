"""A pool's callbacks, in one thread of its own: never two at once, never in the submitter's."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Call = Callable[[], None]


class Callbacks:
    """Does calls one after the other, in a thread that starts with the first of them.

    The thread knows the calls only, so a pool may be forgotten while it waits for more.
    """

    def __init__(self) -> None:
        # Reentrant: a pool may be found to be garbage, and ended, in the midst of it.
        self._lock = threading.RLock()
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_ending = True

    def call(self, call: Call) -> None:
        """Have it called."""
        with self._lock:
            if self._is_ending:
                self._begin()
            self._calls.put(call)

    def end(self) -> None:
        """End the thread after the calls that are there."""
        with self._lock:
            self._is_ending = True
            self._calls.put(None)

    def join(self) -> None:
        """Wait until the thread is gone, which `end` was called for."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _begin(self) -> None:
        self._is_ending = False
        self._calls = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=_do_each, args=(self._calls,), name="crawl-callbacks", daemon=True
        )
        self._thread.start()


def _do_each(calls: queue.SimpleQueue[Call | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # what it knows may be forgotten meanwhile
