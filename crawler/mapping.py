"""`map` and `starmap` on the executors: lazy at both ends, results in the order of the inputs.

    inputs --pulled--> Results --batches--> executor
                         ^------ completions ---'

- All of it happens in the consumer's thread, while it asks for a result: there is no other thread
  to stop, and a loop that is left leaves nothing behind.
- So many inputs are pulled ahead of the results taken, and no more: memory stays the same however
  many there are.
- Nothing waits in a worker: a task to be tried again is handed out when it is due.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import reprlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, overload

from crawler.attempt import Arguments, Outcome
from crawler.calls import Caller, make_caller, outcomes_of, start_executor
from crawler.errors import Retry, UsageError, WorkerDiedError
from crawler.loader import end_import_by_worker

if TYPE_CHECKING:
    from crawler.retry import RetryPolicy

R = TypeVar("R")
OnError = Literal["raise", "return", "skip"]

AHEAD = 16
"""How many inputs per worker are pulled before the results of the first are taken."""
_PULLS_PER_RESULT = 2
"""While results are there: else an iterable that is slow would hold them up."""
# A signal that the kernel gives to another thread doesn't end the main thread's wait for a lock;
# Python runs the handler once the wait is over.
_LONGEST_WAIT = 0.5

_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 200


@overload
def map(  # noqa: A001  (it is what it is called, as `crawler.map`)
    fn: Callable[..., R],
    /,
    *iterables: Iterable[Any],
    mode: str = ...,
    workers: int = ...,
    timeout: float | None = ...,
    retry: RetryPolicy | int | None = ...,
    on_error: Literal["raise", "skip"] = ...,
    ordered: bool = ...,
) -> Results[R]: ...


@overload
def map(  # noqa: A001
    fn: Callable[..., R],
    /,
    *iterables: Iterable[Any],
    mode: str = ...,
    workers: int = ...,
    timeout: float | None = ...,
    retry: RetryPolicy | int | None = ...,
    on_error: OnError,
    ordered: bool = ...,
) -> Results[R | Exception]: ...


def map(  # noqa: A001
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    mode: str = "threads",
    workers: int = 4,
    timeout: float | None = None,
    retry: RetryPolicy | int | None = None,
    on_error: OnError = "raise",
    ordered: bool = True,
) -> Results[Any]:
    """Call `fn` for each input, several at once; an iterator of the results, in their order.

    `mode` is "threads", "processes" or "sequential". `timeout` are seconds for a task; then its
    process is killed and replaced, or its thread left behind, and it fails with a TimeoutError.
    `retry` is how often a task that fails is tried again, or a RetryPolicy. What fails for good
    is raised at its place, which ends the iteration; with `on_error` "return" the exception stands
    in the result's place, with "skip" nothing does. Each exception has a note that tells the input.
    With `ordered=False` results come as they are done.

    Work begins when the first result is asked for; inputs are taken from the iterables at most
    16 a worker ahead. Raises UsageError for what can't be done.
    """
    if not iterables:
        raise UsageError("map needs something to go through: map(function, inputs)")
    inputs = zip(*iterables, strict=False)
    return _results(fn, inputs, mode, workers, timeout, retry, on_error, is_ordered=ordered)


@overload
def starmap(
    fn: Callable[..., R],
    iterable: Iterable[Iterable[Any]],
    /,
    *,
    mode: str = ...,
    workers: int = ...,
    timeout: float | None = ...,
    retry: RetryPolicy | int | None = ...,
    on_error: Literal["raise", "skip"] = ...,
    ordered: bool = ...,
) -> Results[R]: ...


@overload
def starmap(
    fn: Callable[..., R],
    iterable: Iterable[Iterable[Any]],
    /,
    *,
    mode: str = ...,
    workers: int = ...,
    timeout: float | None = ...,
    retry: RetryPolicy | int | None = ...,
    on_error: OnError,
    ordered: bool = ...,
) -> Results[R | Exception]: ...


def starmap(
    fn: Callable[..., Any],
    iterable: Iterable[Iterable[Any]],
    /,
    *,
    mode: str = "threads",
    workers: int = 4,
    timeout: float | None = None,
    retry: RetryPolicy | int | None = None,
    on_error: OnError = "raise",
    ordered: bool = True,
) -> Results[Any]:
    """As `map`, but each input is a tuple of arguments: `fn(*arguments)`."""
    inputs = (tuple(arguments) for arguments in iterable)
    return _results(fn, inputs, mode, workers, timeout, retry, on_error, is_ordered=ordered)


def _results(
    fn: Callable[..., Any],
    inputs: Iterator[Arguments],
    mode: str,
    workers: int,
    timeout: float | None,
    retry: RetryPolicy | int | None,
    on_error: OnError,
    *,
    is_ordered: bool,
) -> Results[Any]:
    end_import_by_worker()
    if not isinstance(workers, int) or workers < 1:
        raise UsageError(f"workers: {workers!r} is no number of workers; give 1 or more")
    if timeout is not None and not timeout > 0:
        raise UsageError(f"timeout: {timeout!r} is no number of seconds; give more than 0, or None")
    if on_error not in ("raise", "return", "skip"):
        raise UsageError(f"on_error: {on_error!r} is none of 'raise', 'return', 'skip'")
    wait_before = _waits(retry)
    workers = 1 if mode == "sequential" else workers
    executor = start_executor(mode, workers)
    try:
        caller = make_caller(executor, mode, fn, gives_up=timeout is not None)
    except UsageError:
        executor.shutdown()
        raise
    return Results(
        caller,
        inputs,
        ahead=1 if mode == "sequential" else AHEAD * workers,
        is_ordered=is_ordered,
        timeout=timeout,
        wait_before=wait_before,
        on_error=on_error,
        owns_executor=True,
    )


def _waits(retry: RetryPolicy | int | None) -> Callable[[Exception, int], float | None] | None:
    """Seconds until the next attempt after an error and so many attempts, or None for no more."""
    if retry is None or retry == 0:
        return None
    from crawler.result import Failure
    from crawler.retry import RetryPolicy
    from crawler.settings import Settings

    if not isinstance(retry, RetryPolicy) and (not isinstance(retry, int) or retry < 0):
        raise UsageError(f"retry: {retry!r} is neither a number of attempts nor a RetryPolicy")
    policy = retry if isinstance(retry, RetryPolicy) else RetryPolicy()
    retries = Settings().retries if isinstance(retry, RetryPolicy) else retry

    def wait_before(error: Exception, attempts: int) -> float | None:
        after = error.after if isinstance(error, Retry) else None
        failure = Failure("spider", str(error), retryable=True, retry_after=after)
        return policy.wait_before(failure, attempts=attempts, retries=retries, error=error)

    return wait_before


@dataclass(frozen=True, slots=True)
class _Task:
    first: int
    """The place of its first input."""
    batch: list[Arguments]
    attempts: int = 1


class Results(Generic[R]):
    """An iterator of results; `close` (or the end of a `with` block) ends the work before its end.

    Forgotten half-way, it ends the work by itself.
    """

    def __init__(
        self,
        caller: Caller,
        inputs: Iterator[Arguments],
        *,
        ahead: int,
        batch_size: int = 1,
        is_ordered: bool = True,
        timeout: float | None = None,
        wait_before: Callable[[Exception, int], float | None] | None = None,
        on_error: OnError = "raise",
        owns_executor: bool = False,
    ) -> None:
        self._caller = caller
        self._inputs: Iterator[Arguments] | None = inputs
        self._ahead = ahead
        self._batch_size = batch_size
        self._is_ordered = is_ordered
        self._timeout = timeout
        self._wait_before = wait_before
        self._on_error = on_error
        self._owns_executor = owns_executor
        self._running: dict[Future[Any], _Task] = {}
        self._look_at: dict[Future[Any], float] = {}
        """When a task may have run for too long."""
        self._due: list[tuple[float, int, _Task]] = []
        """Tasks to be tried again, and when; a heap."""
        self._held: dict[int, Outcome] = {}
        """By place: what waits for an earlier one."""
        self._ready: deque[Outcome] = deque()
        self._completions: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._pulled = 0
        self._released = 0
        """Results that were taken, or skipped."""
        self._head = 0
        """The place of the next result."""
        self._problem: Exception | None = None
        """What the inputs raised; raised after all results before it."""

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Without waiting: whoever collects the garbage may be one of the threads to wait for.
        self._end(wait=False)

    def __next__(self) -> R:
        self.wait()
        if not self._ready:
            problem = self._problem
            self.close()
            raise problem or StopIteration
        is_value, content = self._ready.popleft()
        self._released += 1
        if not is_value and (self._on_error == "raise" or not isinstance(content, Exception)):
            if self._owns_executor:
                self.close()
            raise content
        result: R = content
        return result

    def wait(self, timeout: float | None = None) -> bool:
        """Work until there is a result or the end; False if there was none in so many seconds."""
        give_up_at = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                self._hand_out(pulls=_PULLS_PER_RESULT)
                if self._ready or self._is_exhausted():
                    return True
                left = _LONGEST_WAIT if give_up_at is None else give_up_at - time.monotonic()
                if left <= 0:
                    return False
                self._collect(left)
        except BaseException:  # Ctrl-C, most likely
            self.close()
            raise

    def hold_all(self) -> None:
        """Do all that is left and hold the results."""
        self._ahead = 2**63
        while not self._is_exhausted():
            self._hand_out(pulls=2**63)
            if not self._is_exhausted():
                self._collect(_LONGEST_WAIT)

    def close(self) -> None:
        """End the work: what wasn't begun is not done, processes are killed. No more results.

        A thread can't be stopped: it ends when the task that it is at does.
        """
        self._ready.clear()
        self._held.clear()
        self._end(wait=True)

    def _end(self, *, wait: bool) -> None:
        self._inputs = None
        self._problem = None
        self._due.clear()
        if self._owns_executor:
            # Only processes are sure to be gone soon.
            is_sure = hasattr(self._caller.executor, "pids")
            self._caller.executor.shutdown(wait=wait and is_sure, cancel_futures=True)
        else:
            for future in self._running:
                future.cancel()
        self._running.clear()
        self._look_at.clear()

    def _is_exhausted(self) -> bool:
        return self._inputs is None and not self._running and not self._due

    def _hand_out(self, pulls: int) -> None:
        """Give tasks to the executor; once there are results, new ones for `pulls` of them."""
        self._collect(0)
        while self._due and self._due[0][0] <= time.monotonic():
            self._submit(heapq.heappop(self._due)[2])
        while self._inputs is not None and self._pulled - self._released < self._ahead:
            if self._ready:
                pulls -= 1
                if pulls < 0:
                    return
            batch = self._pull(self._inputs)
            if batch:
                self._submit(_Task(self._pulled, batch))
                self._pulled += len(batch)
                self._collect(0)

    def _pull(self, inputs: Iterator[Arguments]) -> list[Arguments]:
        batch: list[Arguments] = []
        try:
            batch.extend(itertools.islice(inputs, self._batch_size))
        except Exception as error:  # noqa: BLE001  (it is raised at its place)
            self._problem = error
            self._inputs = None
            return batch
        if len(batch) < self._batch_size:
            self._inputs = None
        return batch

    def _submit(self, task: _Task) -> None:
        future = self._caller.submit(task.batch)
        self._running[future] = task
        if self._timeout is not None:
            self._look_at[future] = time.monotonic() + self._timeout
        future.add_done_callback(self._completions.put)

    def _collect(self, seconds: float) -> None:
        """Take in what is done; wait for so many seconds if nothing is."""
        if seconds > 0:
            events = [due for due, _, _ in self._due[:1]]
            events += [min(self._look_at.values())] if self._look_at else []
            seconds = min([seconds, _LONGEST_WAIT, *(at - time.monotonic() for at in events)])
            with suppress(queue.Empty):
                self._settle(self._completions.get(timeout=max(0.0, seconds)))
        while not self._completions.empty():
            self._settle(self._completions.get())
        if self._timeout is not None:
            self._give_up_overdue(self._timeout)

    def _give_up_overdue(self, timeout: float) -> None:
        now = time.monotonic()
        for future, moment in list(self._look_at.items()):
            if moment <= now:
                abandon: Callable[[Future[Any], float], float]
                abandon = self._caller.executor.abandon  # type: ignore[attr-defined]
                self._look_at[future] = now + abandon(future, timeout)

    def _settle(self, future: Future[Any]) -> None:
        task = self._running.pop(future, None)
        self._look_at.pop(future, None)
        if task is None:
            return
        outcomes = outcomes_of(self._caller, future, len(task.batch))
        if len(task.batch) > 1 and isinstance(future.exception(), WorkerDiedError):
            # Which of them it was isn't known: each by itself.
            for place, arguments in enumerate(task.batch, task.first):
                self._submit(_Task(place, [arguments]))
            return
        pairs = zip(task.batch, outcomes, strict=True)
        for place, (arguments, outcome) in enumerate(pairs, task.first):
            is_value, content = outcome
            if not is_value:
                if self._is_tried_again(_Task(place, [arguments], task.attempts + 1), content):
                    continue
                tell_input(content, place, arguments)
            self._take_in(place, outcome)

    def _is_tried_again(self, again: _Task, error: BaseException) -> bool:
        if self._wait_before is None or not isinstance(error, Exception):
            return False
        wait = self._wait_before(error, again.attempts - 1)
        if wait is None:
            return False
        heapq.heappush(self._due, (time.monotonic() + wait, again.first, again))
        return True

    def _take_in(self, place: int, outcome: Outcome) -> None:
        if not self._is_ordered:
            self._release(outcome)
            return
        self._held[place] = outcome
        while self._head in self._held:
            self._release(self._held.pop(self._head))
            self._head += 1

    def _release(self, outcome: Outcome) -> None:
        is_value, content = outcome
        if self._on_error == "skip" and not is_value and isinstance(content, Exception):
            self._released += 1
        else:
            self._ready.append(outcome)


def tell_input(error: BaseException, place: int, arguments: Arguments) -> None:
    """Note on an exception of which input it is."""
    shown = _shown.repr(arguments[0] if len(arguments) == 1 else arguments)
    with suppress(AttributeError, TypeError):  # an exception may refuse to be changed
        error.add_note(f"input {place}: {shown}")
