"""An event loop in a thread of its own, for tasks that wait for the network: coroutine functions.

    submit --> waiting --> loop: a task for each seat that is free --> Future

A seat is a context (`contextvars`) in which the initializer was called; its tasks run in it, one at
a time. What blocks the loop blocks all seats, so a task that does so for too long is left behind
with the whole loop: another one takes over, and begins the other tasks anew.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from crawler.errors import PageTimeoutError

P = ParamSpec("P")
T = TypeVar("T")

_GRACE = 1.0
"""Seconds in which a task that is cancelled must end, or else it blocks the loop."""


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's where there is one: it takes half of the time."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


@dataclass(slots=True, eq=False)
class _Task:
    future: Future[Any]
    call: Callable[[], Coroutine[Any, Any, Any]]
    started: float | None = None
    running: asyncio.Task[None] | None = None
    given_up: float | None = None
    """When it was cancelled for being late."""


class _Loop:
    """One thread with its event loop, and what runs on it."""

    def __init__(self, seats: range, setup: Callable[[int], None]) -> None:
        self._seats = seats
        self._setup = setup
        self._waiting: deque[_Task] = deque()
        self._free: list[contextvars.Context] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_woken = True  # so that nobody wakes it before it is there
        self._has_to_end = False
        self._ends_when_idle = False
        self._lock = threading.Lock()
        self.running: dict[Future[Any], _Task] = {}
        self._is_left_behind = False
        self._done: list[tuple[Future[Any], Any, BaseException | None]] = []
        """What isn't delivered yet."""
        self.ready: Future[None] = Future()
        """Done when all seats are set up; or how that failed."""
        self._end: asyncio.Event
        self._thread = threading.Thread(target=self._run, name="crawl-loop", daemon=True)
        self._thread.start()

    # For other threads.

    def put(self, task: _Task) -> None:
        """Begin a task once a seat is free."""
        self._waiting.append(task)
        self._wake()

    def cancel(self, task: _Task) -> None:
        """Cancel a task that is running, unless it blocks the loop."""
        if self._loop is not None and task.running is not None:
            self._call(task.running.cancel)

    def is_blocked_by(self, task: _Task) -> bool:
        """Whether it is that task that is at work at this instant."""
        return self._loop is not None and asyncio.current_task(self._loop) is task.running

    def leave_behind(self) -> list[_Task]:
        """Have nothing to do with it any more; gives back the tasks that it had."""
        with self._lock:
            self._is_left_behind = True
            left = [*self.running.values(), *self._waiting]
        self._waiting.clear()
        self._deliver()
        self.end()
        return left

    def end(self, *, when_idle: bool = False) -> None:
        """Let the thread end: now, cancelling all that runs, or when all is done."""
        self._ends_when_idle = True
        self._has_to_end = not when_idle
        while self._has_to_end and self._waiting:
            self._waiting.popleft().future.cancel()
        self._is_woken = False
        self._wake()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended."""
        self._thread.join(timeout)

    def _wake(self) -> None:
        if not self._is_woken and self._loop is not None:
            self._is_woken = True
            self._call(self._begin)

    def _call(self, function: Callable[[], Any]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(function)

    # On the thread.

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        try:
            for seat in self._seats:
                context = contextvars.copy_context()
                context.run(self._setup, seat)
                self._free.append(context)
        except BaseException as error:  # noqa: BLE001  (whoever submits has to hear of it)
            self.ready.set_exception(error)
        else:
            self.ready.set_result(None)
        self._end = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._begin()
        await self._end.wait()

    def _begin(self) -> None:
        self._is_woken = False
        error = self.ready.exception()
        while self._waiting and (self._free or error is not None) and not self._has_to_end:
            task = self._waiting.popleft()
            if not task.future.running() and not task.future.set_running_or_notify_cancel():
                continue
            if error is not None:
                task.future.set_exception(error)
                continue
            context = self._free.pop()
            task.started = time.monotonic()
            self.running[task.future] = task
            steps = self._do(task, context)
            task.running = asyncio.get_running_loop().create_task(steps, context=context)
        is_idle = not self.running and not self._waiting
        if self._has_to_end or (self._ends_when_idle and is_idle):
            self._end.set()

    async def _do(self, task: _Task, context: contextvars.Context) -> None:
        error: BaseException | None = None
        value = None
        try:
            value = await task.call()
        except asyncio.CancelledError:
            error = PageTimeoutError("it was cancelled")
            if task.given_up is not None:
                error = PageTimeoutError(f"not finished after {task.given_up:g} s")
        except BaseException as raised:  # noqa: BLE001  (it is the Future's)
            error = raised
        with self._lock:
            if self._is_left_behind:
                return
            del self.running[task.future]
            self._done.append((task.future, value, error))
            is_first = len(self._done) == 1
        self._free.append(context)
        if is_first:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._begin()

    def _deliver(self) -> None:
        """Hand over what was done in a turn of the loop together: whoever waits wakes once."""
        with self._lock:
            done, self._done = self._done, []
        for future, value, error in done:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)


class AsyncExecutor(Executor):
    """Runs coroutine functions on an event loop: at most `slots` of them at a time."""

    runs_coroutines = True

    def __init__(
        self,
        *,
        workers: int | None,  # noqa: ARG002  (there is one loop)
        slots: int,
        initializer: Callable[..., None],
        initargs: tuple[Any, ...],
        first_seat: int = 0,
    ) -> None:
        self._seats = range(first_seat, first_seat + slots)
        self._setup = lambda seat: initializer(seat, *initargs)
        self._loop = _Loop(self._seats, self._setup)
        self._is_shut_down = False

    @property
    def ready(self) -> Future[None]:
        """Done when all seats are set up; or how that failed."""
        return self._loop.ready

    def submit(self, fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Future[Any]:
        """`fn` is a coroutine function; the Future is of what it comes to."""
        if self._is_shut_down:
            raise RuntimeError("cannot submit a task after shutdown")
        task = _Task(Future(), partial(fn, *args, **kwargs))
        self._loop.put(task)
        return task.future

    def abandon(self, future: Future[Any], limit: float) -> float:
        """Give up on a task that has run for `limit` seconds; else, how many it has left.

        Its Future gets a PageTimeoutError. If it doesn't end when it is cancelled, some task blocks
        the loop. If it is this one, the loop is left behind with it; another one waits for that.
        """
        task = self._loop.running.get(future)
        if task is None or task.started is None:
            return 0.0 if future.done() else limit
        now = time.monotonic()
        left = task.started + limit - now
        if left > 0:
            return left
        if task.given_up is None:
            task.given_up = limit
            self._loop.cancel(task)
        elif left <= -_GRACE and self._loop.is_blocked_by(task):
            self._replace_loop(task, limit)
            return 0.0
        return _GRACE

    def _replace_loop(self, culprit: _Task, limit: float) -> None:
        tasks = self._loop.leave_behind()
        self._loop = _Loop(self._seats, self._setup)
        for task in tasks:
            if task is culprit:
                task.future.set_exception(PageTimeoutError.left_behind(limit))
            else:
                task.started = task.running = task.given_up = None
                self._loop.put(task)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`. With `cancel_futures`, tasks at work are given up too."""
        self._is_shut_down = True
        self._loop.end(when_idle=not cancel_futures)
        if wait:
            # What blocks the loop may do so for ever.
            self._loop.join(_GRACE if cancel_futures else None)
