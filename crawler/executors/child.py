"""What runs in a worker process: a reader, and seats that work: threads, or tasks on an event loop.

    pipe --> reader (main thread) --> seats --> pipe

It ends when its pipe does, however the parent died.
"""

from __future__ import annotations

import io
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from crawler.errors import WorkerDiedError
from crawler.executors.aio import AsyncExecutor
from crawler.process import collect_garbage_less_often

FOR_THE_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C and a service manager's SIGTERM go to the whole group; the parent decides what ends."""
STATM = Path("/proc/self/statm")
"""Where Linux says how much memory a process has."""
_NO_MEMORY = "the worker process had no memory left"

Order = tuple[int, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]
"""A task as it comes through the pipe: its number and the call."""


@dataclass(frozen=True, slots=True)
class Duties:
    """What a worker process is for: its seats, how they are set up, what they may take."""

    first_seat: int
    seats: int
    initializer: Callable[..., None]
    initargs: tuple[Any, ...]
    memory: int | None
    event_loop: bool
    """Whether the seats are tasks of an event loop, and the calls coroutine functions."""
    log_levels: Mapping[str, int] = field(default_factory=dict)
    """Those that the parent's loggers have; what it would not take isn't sent."""


def main(pipe: Connection, duties: Duties) -> None:
    """Do what comes through the pipe until it ends."""
    for number in FOR_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_PARENT)  # as the spider's programs expect
    collect_garbage_less_often()
    parent = _Parent(pipe)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_PrintInParent(parent.send)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
    logging.getLogger().addHandler(_LogToParent(parent.send))
    for name, level in duties.log_levels.items():
        logging.getLogger(name).setLevel(level)
    start = _start_loop if duties.event_loop else _start_threads
    put = start(parent, duties)
    while True:
        try:
            put(pipe.recv())
        except (EOFError, OSError):
            _leave(0)  # the parent is done with us, or dead


class _Parent:
    """Who started this process, and hears of all that happens in it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, *message: object) -> None:
        with self._lock:
            self._pipe.send(message)

    def ready(self, duties: Duties) -> None:
        # The threads' stacks and malloc's arenas are there by now: some 70 MB of addresses each.
        if duties.memory is not None:
            _limit_memory(duties.memory)
        self.send("ready")

    def answer(self, number: int, outcome: list[object]) -> None:
        """Tell what a task came to: `value` and what it is, or `error` and which.

        The list is emptied when the memory is too short for what is in it.
        """
        try:
            if isinstance(outcome[1], MemoryError):
                outcome[1] = WorkerDiedError(_NO_MEMORY)
            self.send(outcome[0], number, outcome[1])
        except OSError:
            _leave(1)  # the parent is gone
        except MemoryError:
            outcome.clear()
            self.send("error", number, WorkerDiedError(_NO_MEMORY))
        except Exception as error:  # noqa: BLE001  (an answer that can't travel is an error)
            self.send("error", number, RuntimeError(f"the answer can't travel: {error!r}"))


def _start_threads(parent: _Parent, duties: Duties) -> Callable[[Order], None]:
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()

    def work(seat: int) -> None:
        try:
            duties.initializer(seat, *duties.initargs)
            all_are_seated.wait()
        except BaseException:  # noqa: BLE001  (the parent sees this process die, and why)
            _die()
        while True:
            number, (fn, args, kwargs) = orders.get()
            try:
                outcome: list[object] = ["value", fn(*args, **kwargs)]
            except BaseException as error:  # noqa: BLE001  (a task's error must not end its seat)
                outcome = ["error", error]
            parent.answer(number, outcome)

    all_are_seated = threading.Barrier(duties.seats, partial(parent.ready, duties))
    for seat in range(duties.first_seat, duties.first_seat + duties.seats):
        threading.Thread(target=work, args=(seat,), name=f"seat-{seat}", daemon=True).start()
    return orders.put


def _start_loop(parent: _Parent, duties: Duties) -> Callable[[Order], None]:
    executor = AsyncExecutor(
        workers=None,
        slots=duties.seats,
        initializer=duties.initializer,
        initargs=duties.initargs,
        first_seat=duties.first_seat,
    )
    try:
        executor.ready.result()
    except BaseException:  # noqa: BLE001  (the parent sees this process die, and why)
        _die()

    def answer(number: int, future: Future[Any]) -> None:
        error = future.exception()
        parent.answer(number, ["value", future.result()] if error is None else ["error", error])

    def put(order: Order) -> None:
        number, (fn, args, kwargs) = order
        executor.submit(fn, *args, **kwargs).add_done_callback(partial(answer, number))

    parent.ready(duties)
    return put


def _die() -> None:
    sys.excepthook(*sys.exc_info())
    _leave(1)


def _leave(code: int) -> NoReturn:
    """End this process without waiting for its seats, which may be at work."""
    try:
        if shared := sys.modules.get("crawler.shared"):
            shared.close_own()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has; what asks for too many is refused.

    The kernel counts address space, the only thing it can refuse: memory that is there but not
    used yet, and files that are mapped, count too.
    """
    import resource

    limit = int(STATM.read_text().split()[0]) * resource.getpagesize() + more
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or limit < most:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class _PrintInParent(io.RawIOBase):
    """Stands for stdout: what spiders print is printed where the crawl was started."""

    def __init__(self, send: Callable[..., None]) -> None:
        super().__init__()
        self._send = send

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._send("print", bytes(data))
        return len(data)


class _LogToParent(logging.Handler):
    """Sends log records to the parent, whose handlers know where they go."""

    def __init__(self, send: Callable[..., None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            place = (record.pathname, record.lineno)
            self._send("log", record.name, record.levelno, *place, self.format(record))
        except Exception:  # noqa: BLE001  (as every handler of the standard library does)
            self.handleError(record)
