"""A supervised pool of processes: one that dies costs a retry of what it held, not the pool.

    submit --> backlog --> supervisor thread --task--> child process: its seats (`child`)
                                 ^------ answer / end of pipe ------'

- The supervisor is the only one that touches the pool's state, so there are no locks. It gives each
  task to the least busy child, and starts a child only when all others have something to do.
- A child has `seats` threads that work, or an event loop with so many tasks, so that pages that
  wait for the network don't need a process each. It ends when its pipe does.
- A child that dies is replaced by one in the same seats. It takes over the tasks, one after the
  other, each alone: the one that kills again is thereby known and fails, the others are done.

Children are forked from a fork server that has imported the worker, or spawned where there is none:
never from this process, whose threads may hold locks.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import queue
import selectors
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, ParamSpec, TypeVar

from crawler.errors import PageTimeoutError, UsageError, WorkerDiedError
from crawler.executors import layout
from crawler.executors.child import FOR_THE_PARENT, STATM, Duties
from crawler.executors.child import main as child_main
from crawler.process import WORKER_NAME

P = ParamSpec("P")
T = TypeVar("T")

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_PRELOAD = ["crawler.worker", "crawler.executors.child", "crawler.parcel"]
_MAX_DEATHS_AT_START = 3
_SECONDS_TO_START = 3.0
"""What a task's limit can't shorten: the time until its process works."""
_SECONDS_TO_END = 5.0
_SECONDS_TO_KILL = 1.0

log = logging.getLogger("crawler.executors")


@dataclass(slots=True, eq=False)
class _Task:
    number: int
    call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
    future: Future[Any]
    was_alone: bool = False
    started: float | None = None
    """When it was last given to a child."""
    given_up: str | None = None
    """Why nobody waits for it any more."""


@dataclass(slots=True, eq=False)
class _Child:
    """One process as the supervisor sees it."""

    place: int
    process: BaseProcess
    pipe: Connection
    tasks: dict[int, _Task] = field(default_factory=dict)
    suspects: deque[_Task] = field(default_factory=deque)
    """What the dead process before it held; tried one by one before anything else."""
    is_ready: bool = False

    @property
    def load(self) -> int:
        return len(self.tasks) + len(self.suspects)


class ProcessExecutor(Executor):
    """`workers` processes (by default one a core) of `slots / workers` seats each.

    With `event_loops` the seats are tasks of an event loop, and take coroutine functions.
    """

    def __init__(
        self,
        *,
        workers: int | None,
        slots: int,
        initializer: Callable[..., None],
        initargs: tuple[Any, ...],
        memory: int | None = None,
        event_loops: bool = False,
    ) -> None:
        self.runs_coroutines = event_loops
        if memory is not None and not STATM.exists():
            raise UsageError("worker_memory: only Linux limits the memory of a process")
        self._workers, self._seats = layout("processes", workers, slots)
        self._duties = Duties(0, self._seats, initializer, initargs, memory, event_loops)
        self._commands: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._tasks: dict[Future[Any], _Task] = {}
        self._wake_in, self._wake_out = multiprocessing.Pipe(duplex=False)
        # Reentrant: a pool may be found to be garbage, and shut down, in the midst of it.
        self._wake_lock = threading.RLock()
        self._is_woken = False
        """Whether the supervisor has been told to look at the commands, and hasn't yet."""
        self._numbers = 0
        self._is_shut_down = False
        self._is_given_up = False
        self._backlog: deque[_Task] = deque()
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        """What tells of commands, and of children: see `_watch`."""
        self._deaths_at_start = 0
        self.deaths = 0
        """Children that died and were replaced."""
        self._supervisor = threading.Thread(
            target=self._supervise, name="crawl-supervisor", daemon=True
        )
        self._context: Any = multiprocessing.get_context(_METHOD)
        if _METHOD == "forkserver":
            fetcher = "crawler.fetchers.aiohttp" if event_loops else "crawler.fetchers.requests"
            self._context.set_forkserver_preload([*_PRELOAD, fetcher])
        # multiprocessing waits for children when the program ends; ours end when they are told to.
        atexit.register(self.shutdown, cancel_futures=True)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._supervisor.start()

    def pids(self) -> list[int]:
        """The process ids of the children at work."""
        return [c.process.pid for c in list(self._children.values()) if c.process.pid is not None]

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The function travels by name, the arguments by value; see `Executor.submit`."""
        if self._is_shut_down:
            raise RuntimeError("cannot submit a task after shutdown")
        self._numbers += 1
        task = _Task(self._numbers, (fn, args, kwargs), Future())
        self._tasks[task.future] = task
        task.future.add_done_callback(self._forget)
        self._command(task)
        return task.future

    def abandon(self, future: Future[Any], limit: float) -> float:
        """Give up on a task that has run for `limit` seconds; else, how many it has left.

        Its process is killed and replaced. If it was alone there, its Future gets a
        PageTimeoutError. Else it is tried again, alone, with all that the process held: one that
        never lets go of the interpreter makes the others late too.
        """
        task = self._tasks.get(future)
        if task is None:
            return 0.0
        child = next((c for c in list(self._children.values()) if task.number in c.tasks), None)
        if child is None or task.started is None:
            return limit
        bound = limit if child.is_ready else max(limit, _SECONDS_TO_START)
        left = task.started + bound - time.monotonic()
        if left > 0:
            return left
        # From here, not by the supervisor: it may be stuck itself, sending to a child that is.
        if len(child.tasks) == 1:
            task.given_up = f"not finished after {limit:g} s; its process was killed"
        child.process.kill()
        return limit  # should it take that long to find out

    def _forget(self, future: Future[Any]) -> None:
        self._tasks.pop(future, None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the children end. With `cancel_futures` what they work on is given up, at once."""
        self._is_given_up = self._is_given_up or cancel_futures
        self._is_shut_down = True
        if not self._supervisor.is_alive():
            return  # at the end of the program nothing else can be done any more, nor need be
        self._command(None)
        if threading.current_thread() is self._supervisor:
            return  # it has found the pool to be garbage
        if wait:
            self._supervisor.join()
        elif cancel_futures:  # a child that is just starting looks for what its parent takes away
            self._supervisor.join(_SECONDS_TO_KILL)

    def _command(self, command: _Task | None) -> None:
        self._commands.put(command)
        with self._wake_lock:
            if not self._is_woken:
                self._is_woken = True
                self._wake_out.send_bytes(b"")

    # What follows runs in the supervisor's thread alone.

    def _supervise(self) -> None:
        try:
            while not self._is_given_up and not (self._is_shut_down and self._is_idle()):
                self._hand_out()
                for ready, _ in self._selector.select():
                    if ready.data is None:
                        self._take_commands()
                    elif self._selector.get_map().get(ready.fd) is ready:
                        self._listen(ready.data, has_message=ready.fileobj is ready.data.pipe)
        except Exception as error:
            log.exception("the supervisor of the worker processes failed")
            self._break(f"the supervisor of the worker processes failed: {error!r}")
        finally:
            self._break("the pool was shut down", CancelledError)
            self._selector.close()
            self._end_children()
            atexit.unregister(self.shutdown)

    def _take_commands(self) -> None:
        with self._wake_lock:
            self._wake_in.recv_bytes()
            self._is_woken = False
        self._empty_commands()

    def _empty_commands(self) -> None:
        while not self._commands.empty():
            command = self._commands.get()
            if command is not None:
                self._backlog.append(command)

    def _watch(self, child: _Child) -> None:
        """Listen to its pipe, and for the end of its process.

        The pipe alone would not do: a process that the spider started may hold its other end.
        """
        self._selector.register(child.pipe, selectors.EVENT_READ, child)
        self._selector.register(child.process.sentinel, selectors.EVENT_READ, child)

    def _unwatch(self, source: Any) -> None:
        with suppress(KeyError):
            self._selector.unregister(source)

    def _is_idle(self) -> bool:
        return (
            not self._backlog
            and self._commands.empty()
            and not any(child.load for child in self._children.values())
        )

    def _hand_out(self) -> None:
        for child in self._children.values():
            if child.suspects and not child.tasks:
                suspect = child.suspects.popleft()
                suspect.was_alone = True
                self._give(child, suspect)
        while self._backlog and not self._is_given_up:
            free = self._child_with_room()
            if free is None:
                return
            self._give(free, self._backlog.popleft())

    def _child_with_room(self) -> _Child | None:
        least_busy = min(self._children.values(), key=lambda child: child.load, default=None)
        everyone_works = least_busy is None or least_busy.load > 0
        if everyone_works and len(self._children) < self._workers:
            return self._start(len(self._children))
        free = [
            child
            for child in self._children.values()
            if not child.suspects
            and child.load < self._seats
            and not any(task.was_alone for task in child.tasks.values())
        ]
        return min(free, key=lambda child: child.load, default=None)

    def _give(self, child: _Child, task: _Task) -> None:
        if not task.was_alone and not task.future.set_running_or_notify_cancel():
            return
        child.tasks[task.number] = task
        task.started = time.monotonic()
        try:
            child.pipe.send((task.number, task.call))
        except OSError:
            pass  # it has just died: the end of its pipe is about to be read, with this task
        except Exception as error:  # noqa: BLE001  (what can't travel is the caller's mistake)
            del child.tasks[task.number]
            task.future.set_exception(error)

    def _start(self, place: int) -> _Child:
        # The fork server may have just been killed. Once it is dead to the last, the next start
        # brings up another; nothing tells when that is, so ask again a little later.
        for pause in (0.1, 0.5):
            with suppress(OSError, EOFError):
                return self._start_once(place)
            time.sleep(pause)
        return self._start_once(place)

    def _start_once(self, place: int) -> _Child:
        ours, theirs = self._context.Pipe()
        duties = replace(self._duties, first_seat=place * self._seats, log_levels=_log_levels())
        process = self._context.Process(
            target=child_main,
            args=(theirs, duties),
            name=f"{WORKER_NAME}{place + 1}",
            daemon=True,
        )
        with _no_main_module(), _signals_held_back():
            process.start()
        theirs.close()
        child = self._children[place] = _Child(place, process, ours)
        self._watch(child)
        return child

    def _listen(self, child: _Child, *, has_message: bool) -> None:
        if not has_message and not child.pipe.poll():
            if not _exists(child.process.pid):
                self._bury(child)
            else:  # it is the fork server that has ended, which would tell of the child's end
                self._unwatch(child.process.sentinel)
            return
        try:
            message = child.pipe.recv()
        except (EOFError, OSError):
            self._bury(child)
            return
        match message:
            case ("ready",):
                child.is_ready = True
                for task in child.tasks.values():
                    task.started = time.monotonic()
                self._deaths_at_start = 0
            case ("log", name, level, file, line, text):
                logger = logging.getLogger(name)
                if logger.isEnabledFor(level):
                    logger.handle(logging.LogRecord(name, level, file, line, text, None, None))
            case ("print", data):
                # A stdout that is closed, or can't show the text, is no reason to stop.
                with suppress(OSError, ValueError, AttributeError):
                    sys.stdout.write(data.decode(errors="replace"))
            case ("value", number, value):
                child.tasks.pop(number).future.set_result(value)
            case ("error", number, error):
                child.tasks.pop(number).future.set_exception(error)

    def _bury(self, child: _Child) -> None:
        """Replace a dead child, fail the task that killed it twice, put the others to the test."""
        self._unwatch(child.pipe)
        self._unwatch(child.process.sentinel)
        child.process.join(_SECONDS_TO_END)
        child.process.kill()  # should it have closed its pipe and not ended
        child.pipe.close()
        cause = _cause_of_death(child.process.exitcode)
        self.deaths += 1
        if not child.is_ready:
            self._deaths_at_start += 1
        if self._deaths_at_start >= _MAX_DEATHS_AT_START:
            del self._children[child.place]
            self._backlog.extend([*child.tasks.values(), *child.suspects])
            self._break(f"worker processes die as they start ({cause})")
            return
        suspects: list[_Task] = []
        for task in child.tasks.values():
            if task.given_up is not None:
                task.future.set_exception(PageTimeoutError(task.given_up))
            elif task.was_alone and child.is_ready:
                message = f"the worker process died on it, twice ({cause})"
                task.future.set_exception(WorkerDiedError(message))
            else:
                task.started = None
                suspects.append(task)
        log.warning(
            "worker process %d died (%s); replaced it, %d tasks are tried again, alone",
            child.place + 1,
            cause,
            len(suspects),
        )
        self._start(child.place).suspects.extend([*suspects, *child.suspects])

    def _break(self, why: str, kind: type[Exception] = BrokenExecutor) -> None:
        """Nothing more can be done: fail all that is left, so that nobody waits for ever."""
        self._is_shut_down = True
        self._empty_commands()
        left = [*self._backlog]
        for child in self._children.values():
            left += [*child.tasks.values(), *child.suspects]
            child.tasks.clear()
            child.suspects.clear()
        self._backlog.clear()
        for task in left:
            if not task.future.done():
                task.future.set_exception(kind(why))

    def _end_children(self) -> None:
        for child in self._children.values():
            child.pipe.close()
            if self._is_given_up:
                child.process.kill()
        for child in self._children.values():
            child.process.join(_SECONDS_TO_END)
            if child.process.exitcode is None:
                child.process.kill()
                child.process.join()


_main_lock = threading.Lock()


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep multiprocessing from running the user's script again in each child.

    It would do so to find functions defined there; ours travel by their own names. Without this, a
    script that calls `crawler.run` outside `if __name__ == "__main__"` would start itself for ever.
    And keep the user's folder off the fork server's path, where a file called `queue.py` would
    stand in for Python's.
    """
    with _main_lock:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        before = os.environ.get("PYTHONSAFEPATH")
        os.environ["PYTHONSAFEPATH"] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ["PYTHONSAFEPATH"]
            else:
                os.environ["PYTHONSAFEPATH"] = before
            sys.modules["__main__"] = main


def _log_levels() -> dict[str, int]:
    """Of the loggers that have a level of their own; the root's name is empty."""
    known = list(logging.root.manager.loggerDict.items())
    levels = {name: log.level for name, log in known if isinstance(log, logging.Logger)}
    return {"": logging.root.level, **{name: level for name, level in levels.items() if level}}


def _exists(pid: int | None) -> bool:
    try:
        os.kill(pid or 0, 0)
    except ProcessLookupError:
        return False
    return True


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        try:
            return f"killed by {signal.Signals(-exitcode).name}"
        except ValueError:
            return f"killed by signal {-exitcode}"
    return f"exit code {exitcode}"


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Processes that are started meanwhile get no signals until they are ready to ignore them."""
    resource_tracker.ensure_running()  # to start it lets signals through (Python 3.11)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
