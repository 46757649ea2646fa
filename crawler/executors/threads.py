"""A pool of threads: for spiders that wait for the network more than they compute.

Unlike the standard library's it can give up on a task: a thread can't be stopped, but it can be
left behind, and another one takes its seat. Threads are daemons, so one that is stuck for good
doesn't keep the program from ending.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from crawler.errors import PageTimeoutError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Task:
    future: Future[Any]
    call: Callable[[], Any]
    seat: int = 0
    started: float = 0.0


class ThreadExecutor(Executor):
    """As many threads as slots, each a seat of its own; they start as they are needed."""

    def __init__(
        self,
        *,
        workers: int | None,  # noqa: ARG002  (a thread is a slot)
        slots: int,
        initializer: Callable[..., None],
        initargs: tuple[Any, ...],
    ) -> None:
        self._slots = slots
        self._setup = (initializer, initargs)
        self._queue: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        # Reentrant: a pool may be found to be garbage, and shut down, in the midst of it.
        self._lock = threading.RLock()
        self._threads: dict[int, threading.Thread] = {}
        self._running: dict[Future[Any], _Task] = {}
        self._is_shut_down = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `Executor.submit`."""
        future: Future[T] = Future()
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot submit a task after shutdown")
            self._queue.put(_Task(future, lambda: fn(*args, **kwargs)))
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._slots:
                self._start(len(self._threads))
        return future

    def abandon(self, future: Future[Any], limit: float) -> float:
        """Give up on a task that has run for `limit` seconds; else, how many it has left.

        Its Future gets a PageTimeoutError. The thread is left behind: Python can't stop it.
        """
        with self._lock:
            task = self._running.get(future)
            if task is None:
                return 0.0 if future.done() else limit
            left = task.started + limit - time.monotonic()
            if left > 0:
                return left
            del self._running[future]
            self._start(task.seat)
        future.set_exception(PageTimeoutError.left_behind(limit))
        return 0.0

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`. With `cancel_futures`, busy threads are left behind."""
        with self._lock:
            self._is_shut_down = True
            busy = {task.seat for task in self._running.values()} if cancel_futures else set()
        if cancel_futures:
            while not self._queue.empty():
                task = self._queue.get()
                if task is not None:
                    task.future.cancel()
        self._queue.put(None)
        if wait:
            for seat, thread in self._threads.items():
                if seat not in busy:
                    thread.join()

    def _start(self, seat: int) -> None:
        """Fill a seat; the caller holds the lock, or two would start a thread for the same one."""
        thread = threading.Thread(
            target=self._work, args=(seat,), name=f"crawl-worker-{seat}", daemon=True
        )
        thread.start()
        self._threads[seat] = thread

    def _work(self, seat: int) -> None:
        initializer, initargs = self._setup
        broken: BaseException | None = None
        try:
            initializer(seat, *initargs)
        except BaseException as error:  # noqa: BLE001  (whoever submits has to hear of it)
            broken = error
        while True:
            try:
                task = self._queue.get_nowait()
            except queue.Empty:
                self._idle.release()
                task = self._queue.get()
            if task is None:
                self._queue.put(None)  # for the next one
                return
            if not task.future.set_running_or_notify_cancel():
                continue
            if broken is not None:
                task.future.set_exception(broken)
                continue
            task.seat, task.started = seat, time.monotonic()
            with self._lock:
                self._running[task.future] = task
            if not self._is_done(task):
                return  # another thread has this seat by now

    def _is_done(self, task: _Task) -> bool:
        """Do it; False if it was given up meanwhile."""
        error = value = None
        try:
            value = task.call()
        except BaseException as raised:  # noqa: BLE001  (it is the Future's)
            error = raised
        with self._lock:
            if self._running.pop(task.future, None) is None:
                return False
        if error is not None:
            task.future.set_exception(error)
        else:
            task.future.set_result(value)
        return True
