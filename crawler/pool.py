"""`Pool` and `ThreadPool` with the methods of `multiprocessing`'s, on our own executors.

Changing the import line is enough. What is different: a worker process that dies costs the call
that killed it, where multiprocessing waits for its answer without end; `imap` takes its inputs as
the results are taken; a result that will never come is a CancelledError; a callback that raises is
logged and the others are called. As with the start methods
"spawn" and "forkserver", worker processes import the functions that they call and share no globals.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Generic, Self, TypeVar

from crawler.attempt import Arguments, Outcome
from crawler.callbacks import Callbacks
from crawler.calls import Caller, Task, killers_apart, make_caller, outcomes_of, start_executor
from crawler.errors import UsageError
from crawler.lazy import AHEAD, LONGEST_WAIT, Results
from crawler.loader import end_import_by_worker

R = TypeVar("R")

log = logging.getLogger("crawler.pool")


class Pool:
    """`processes` worker processes, by default one a core; see `multiprocessing.pool.Pool`."""

    _mode = "processes"
    _executor: Executor | None = None
    """Made for the first call; never, if the arguments were refused."""

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: object = None,  # noqa: ARG002  (how workers are started is no choice here)
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if maxtasksperchild is not None:
            raise UsageError("maxtasksperchild: workers of this pool are only replaced as needed")
        self._workers = processes or os.cpu_count() or 1
        self._setup = (initializer, tuple(initargs))
        self._lock = threading.Lock()
        self._unfinished: set[AsyncResult[Any]] = set()
        self._iterators: set[ResultIterator[Any]] = set()
        """Those with results left."""
        self._callbacks = Callbacks()
        self._is_closed = False
        self._is_terminated = False

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Without waiting: whoever collects the garbage may be one of the threads to wait for. When
        # the program ends they are gone, and the locks that they had are never free again.
        if self._executor is not None and not is_finalizing():
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._callbacks.end()

    def apply(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
    ) -> R:
        """`func(*args, **kwds)` in a worker."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[R]:
        """As `apply`, without waiting; callbacks are called by one other thread, in turn."""
        called = partial(func, **kwds) if kwds else func
        caller, inputs = self._caller(called), [tuple(args)]
        return AsyncResult(self, caller, inputs, 1, _only, callback, error_callback)

    def map(
        self, func: Callable[[Any], R], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[R]:
        """The results in the order of the inputs; the first exception among them is raised."""
        return self.map_async(func, iterable, chunksize).get()

    def starmap(
        self,
        func: Callable[..., R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[R]:
        """As `map`, but each input is a tuple of arguments."""
        return self.starmap_async(func, iterable, chunksize).get()

    def map_async(
        self,
        func: Callable[[Any], R],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """As `map`, without waiting; callbacks are called by one other thread, in turn."""
        inputs = [(value,) for value in iterable]
        return self._map_async(func, inputs, chunksize, callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[R]]:
        """As `starmap`, without waiting; callbacks are called by one other thread, in turn."""
        inputs = [tuple(arguments) for arguments in iterable]
        return self._map_async(func, inputs, chunksize, callback, error_callback)

    def imap(
        self, func: Callable[[Any], R], iterable: Iterable[Any], chunksize: int = 1
    ) -> ResultIterator[R]:
        """An iterator of results in the order of the inputs, which may be endless."""
        return self._imap(func, iterable, chunksize, is_ordered=True)

    def imap_unordered(
        self, func: Callable[[Any], R], iterable: Iterable[Any], chunksize: int = 1
    ) -> ResultIterator[R]:
        """As `imap`, but results come as they are done."""
        return self._imap(func, iterable, chunksize, is_ordered=False)

    def close(self) -> None:
        """Take no more work."""
        self._is_closed = True
        self._end_callbacks()

    def terminate(self) -> None:
        """End at once: what isn't done is not done any more. Threads end with what they are at."""
        self._is_closed = self._is_terminated = True
        executor = self._executor
        if executor is not None:
            executor.shutdown(wait=self._mode == "processes", cancel_futures=True)
        self._unfinished.clear()
        self._iterators.clear()
        self._end_callbacks()

    def join(self) -> None:
        """Wait until all is done and the workers are gone; first comes `close` or `terminate`."""
        if not self._is_closed:
            raise ValueError("Pool is still running")
        while self._unfinished or self._iterators:
            for result in list(self._unfinished):
                result.wait()
            for results in list(self._iterators):
                results.wait()
        if self._executor is not None:
            self._executor.shutdown(wait=True)
        self._callbacks.join()

    def _end_callbacks(self) -> None:
        """End their thread if there is nothing left to call."""
        if self._is_closed and not self._unfinished:
            self._callbacks.end()

    def _check_running(self) -> None:
        if self._is_closed:
            raise ValueError("Pool not running")

    def _caller(self, function: Callable[..., Any]) -> Caller:
        self._check_running()
        end_import_by_worker()
        with self._lock:
            if self._executor is None:
                self._executor = start_executor(self._mode, self._workers, *self._setup)
        return make_caller(self._executor, self._mode, function)

    def _map_async(
        self,
        func: Callable[..., R],
        inputs: Sequence[Arguments],
        chunksize: int | None,
        callback: Callable[[list[R]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> AsyncResult[list[R]]:
        caller = self._caller(func)
        if chunksize is not None and chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        size = chunksize or max(1, -(-len(inputs) // (self._workers * 4)))  # as multiprocessing
        return AsyncResult(self, caller, inputs, size, list, callback, error_callback)

    def _imap(
        self,
        func: Callable[[Any], R],
        iterable: Iterable[Any],
        chunksize: int,
        *,
        is_ordered: bool,
    ) -> ResultIterator[R]:
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        results: Results[R] = Results(
            self._caller(func),
            ((value,) for value in iterable),
            ahead=AHEAD * self._workers * chunksize,
            batch_size=chunksize,
            is_ordered=is_ordered,
        )
        return ResultIterator(self, results)


class ThreadPool(Pool):
    """The same with threads; see `multiprocessing.pool.ThreadPool`."""

    _mode = "threads"


class AsyncResult(Generic[R]):
    """What `map_async` and the like return; see `multiprocessing.pool.AsyncResult`."""

    def __init__(
        self,
        pool: Pool,
        caller: Caller,
        inputs: Sequence[Arguments],
        batch_size: int,
        make: Callable[[Iterator[Any]], R],
        callback: Callable[[R], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        self._pool = pool
        self._caller = caller
        self._make = make
        self._callbacks = (callback, error_callback)
        self._outcomes: list[Outcome] = [(False, None)] * len(inputs)
        self._left = len(inputs)
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._value: R | None = None
        self._error: BaseException | None = None
        pool._unfinished.add(self)
        for first in range(0, len(inputs), batch_size):
            self._submit(Task(first, inputs[first : first + batch_size]))
        if not inputs:
            self._finish()

    def get(self, timeout: float | None = None) -> R:
        """The result, or the exception raised. Raises multiprocessing.TimeoutError."""
        self.wait(timeout)
        if not self._done.is_set():
            raise multiprocessing.TimeoutError
        if self._error is not None:
            raise self._error
        value: Any = self._value
        result: R = value
        return result

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the result, so many seconds at most."""
        give_up_at = None if timeout is None else time.monotonic() + timeout
        while not self._done.is_set():
            left = LONGEST_WAIT
            if give_up_at is not None:
                left = min(left, give_up_at - time.monotonic())
                if left <= 0:
                    return
            self._done.wait(left)

    def ready(self) -> bool:
        """Whether it is done."""
        return self._done.is_set()

    def successful(self) -> bool:
        """Whether it was done without an exception. Raises ValueError if it isn't done."""
        if not self._done.is_set():
            raise ValueError(f"{self!r} not ready")
        return self._error is None

    # What follows also runs in the threads of the executor; callbacks, in a thread of their own.

    def _submit(self, task: Task) -> None:
        try:
            future = self._caller.submit(task.batch)
        except RuntimeError as error:  # the pool ended meanwhile, or broke
            future = Future()
            if self._pool._is_terminated:
                future.cancel()
            else:
                future.set_exception(error)
        future.add_done_callback(partial(self._arrived, task))

    def _arrived(self, task: Task, future: Future[Any]) -> None:
        if apart := killers_apart(task, future):
            for each in apart:
                self._submit(each)
            return
        outcomes = outcomes_of(self._caller, task, future)
        self._outcomes[task.first : task.first + len(outcomes)] = outcomes
        with self._lock:
            self._left -= len(outcomes)
            if self._left:
                return
        self._finish()

    def _finish(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        self._error = next((content for is_value, content in outcomes if not is_value), None)
        if self._error is None:
            self._value = self._make(content for _, content in outcomes)
        callback, error_callback = self._callbacks
        if self._error is None and callback is not None:
            self._pool._callbacks.call(partial(self._call, callback, self._value))
        elif self._error is not None and error_callback is not None:
            self._pool._callbacks.call(partial(self._call, error_callback, self._error))
        else:
            self._conclude()

    def _call(self, callback: Callable[[Any], object], argument: object) -> None:
        try:
            if not self._pool._is_terminated:
                callback(argument)
        except BaseException:
            log.exception("a callback of a pool failed")
        finally:
            self._conclude()

    def _conclude(self) -> None:
        pool = self._pool
        del self._pool, self._caller, self._callbacks
        self._done.set()
        pool._unfinished.discard(self)
        pool._end_callbacks()


class ResultIterator(Generic[R]):
    """What `imap` and `imap_unordered` return; see `multiprocessing.pool.IMapIterator`."""

    def __init__(self, pool: Pool, results: Results[R]) -> None:
        self._pool = pool
        self._results = results
        pool._iterators.add(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        return self.next()

    def next(self, timeout: float | None = None) -> R:
        """The next result. Raises multiprocessing.TimeoutError, or what the function raised."""
        try:
            return self._results.take(timeout)
        except StopIteration:
            self._pool._iterators.discard(self)
            raise

    def wait(self) -> None:
        """Do all that is left, and hold the results."""
        self._results.hold_all()
        self._pool._iterators.discard(self)


def _only(results: Iterator[R]) -> R:
    (result,) = results
    return result
