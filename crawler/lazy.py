"""The results of a map, lazy at both ends.

    inputs --pulled--> Results --tasks--> executor
                         ^----- completions ---'

- All of it happens in the consumer's thread, while it asks for a result: there is no other thread
  to stop, and a loop that is left leaves nothing behind. Several that ask take turns.
- So many inputs are pulled ahead of the results taken, and no more: memory stays the same however
  many there are.
- Nothing waits in a worker: a task to be tried again is handed out when it is due.
"""

from __future__ import annotations

import heapq
import itertools
import math
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, Literal, Self, TypeVar

from crawler.attempt import Arguments, Outcome
from crawler.calls import Caller, Task, killers_apart, outcomes_of
from crawler.tally import Tally

R = TypeVar("R")
OnError = Literal["raise", "return", "skip"]

AHEAD = 16
"""How many inputs per worker are pulled before the results of the first are taken."""
LONGEST_WAIT = 0.5
"""Seconds. A signal that the kernel gives to another thread doesn't end the main thread's wait for
a lock; Python runs the handler once the wait is over."""
_PULLS_PER_RESULT = 2
"""While results are there: else an iterable that is slow would hold them up."""


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
        tally: Tally | None = None,
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
        self._tally = tally or Tally()
        self._running: dict[Future[Any], Task] = {}
        self._look_at: dict[Future[Any], float] = {}
        """When a task may have run for too long."""
        self._next_look = math.inf
        """The earliest of these, or a moment before it."""
        self._due: list[tuple[float, int, Task]] = []
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
        self._turn = threading.RLock()
        """Held by the one of the consumer's threads that does the work; others wait for it."""
        self._is_closed = False
        self._problem: Exception | None = None
        """What the inputs raised; raised after all results before it."""

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Without waiting: whoever collects the garbage may be one of the threads to wait for. When
        # the program ends they are gone, and the locks that they had are never free again.
        if is_finalizing():
            self._tally.end(wait=False)
        else:
            self._end(wait=False)

    def __next__(self) -> R:
        return self.take()

    def take(self, timeout: float | None = None) -> R:
        """The next result; several threads may ask, each gets another one.

        Raises multiprocessing.TimeoutError if there is none in so many seconds.
        """
        give_up_at = math.inf if timeout is None else time.monotonic() + timeout
        try:
            outcome = self._next_outcome(give_up_at)
        except BaseException:  # the end; or Ctrl-C, most likely
            self.close()
            raise
        if outcome is None:
            from multiprocessing import TimeoutError as LateError

            raise LateError
        is_value, content = outcome
        if not is_value and (self._on_error == "raise" or not isinstance(content, Exception)):
            if self._owns_executor:
                self.close()
            raise _raisable(content)
        result: R = content
        return result

    def hold_all(self) -> None:
        """Do all that is left and hold the results."""
        self._ahead = 2**63
        while self._take_turn(math.inf):
            try:
                self._hand_out(pulls=2**63)
                if self._is_exhausted():
                    return
                self._collect(LONGEST_WAIT)
            finally:
                self._turn.release()

    def close(self) -> None:
        """End the work: what wasn't begun is not done, processes are killed. No more results.

        A thread can't be stopped: it ends when the task that it is at does.
        """
        self._end(wait=True)

    def _end(self, *, wait: bool) -> None:
        self._is_closed = True
        if self._owns_executor:
            # Only processes are sure to be gone soon.
            is_sure = hasattr(self._caller.executor, "pids")
            self._caller.executor.shutdown(wait=wait and is_sure, cancel_futures=True)
        else:
            for future in list(self._running):
                future.cancel()
        self._tally.end(wait=wait)
        if self._turn.acquire(blocking=False):  # else whoever has it comes here, too
            self._inputs = self._problem = None
            for left in (self._ready, self._held, self._due, self._running, self._look_at):
                left.clear()
            self._turn.release()

    def _take_turn(self, give_up_at: float) -> bool:
        """Wait for the right to go on with the work; False if it comes too late."""
        if not self._is_closed and self._turn.acquire(blocking=False):
            return True  # nearly always
        while not self._is_closed:
            left = min(LONGEST_WAIT, give_up_at - time.monotonic())
            if self._turn.acquire(timeout=max(0.0, left)):
                return True
            if left <= 0:
                return False
        return False

    def _next_outcome(self, give_up_at: float) -> Outcome | None:
        """None if there was none until then. Raises StopIteration, or what the inputs raised."""
        if not self._take_turn(give_up_at):
            if self._is_closed:
                raise StopIteration
            return None
        try:
            if not self._work(give_up_at):
                return None
            if self._is_closed or not self._ready:
                problem, self._problem = self._problem, None
                raise problem or StopIteration
            self._released += 1
            return self._ready.popleft()
        finally:
            self._turn.release()

    def _work(self, give_up_at: float) -> bool:
        """Go on until there is a result or the end; False if there was none until then."""
        self._tally.begin()
        while True:
            self._hand_out(pulls=_PULLS_PER_RESULT)
            if self._ready or self._is_exhausted():
                return True
            left = min(LONGEST_WAIT, give_up_at - time.monotonic())
            if left <= 0:
                return False
            self._collect(left)

    def _is_exhausted(self) -> bool:
        is_done = self._inputs is None and not self._running and not self._due
        return is_done or self._is_closed

    def _hand_out(self, pulls: int) -> None:
        """Give tasks to the executor; once there are results, new ones for `pulls` of them."""
        self._collect(0)
        while self._due and self._due[0][0] <= time.monotonic():
            self._submit(heapq.heappop(self._due)[2])
        while self._inputs is not None and self._pulled - self._released < self._ahead:
            if self._is_closed:
                return
            if self._ready:
                pulls -= 1
                if pulls < 0:
                    return
            batch = self._pull(self._inputs)
            if batch:
                self._submit(Task(self._pulled, batch))
                self._pulled += len(batch)
                self._collect(0)
            if self._inputs is None:
                self._tally.total = self._pulled

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

    def _submit(self, task: Task) -> None:
        try:
            future = self._caller.submit(task.batch)
        except RuntimeError:
            if not self._is_closed:
                raise
            return  # another thread has just closed it
        self._running[future] = task
        if self._timeout is not None:
            self._look_at[future] = moment = time.monotonic() + self._timeout
            self._next_look = min(self._next_look, moment)
        future.add_done_callback(self._completions.put)

    def _collect(self, seconds: float) -> None:
        """Take in what is done; wait for so many seconds if nothing is."""
        if seconds > 0:
            until = min(self._next_look, self._due[0][0] if self._due else math.inf)
            seconds = min(seconds, LONGEST_WAIT, until - time.monotonic())
            with suppress(queue.Empty):
                self._settle(self._completions.get(timeout=max(0.0, seconds)))
        while not self._completions.empty():
            self._settle(self._completions.get())
        if self._timeout is not None and self._next_look <= time.monotonic():
            self._give_up_overdue(self._timeout)

    def _give_up_overdue(self, timeout: float) -> None:
        now = time.monotonic()
        for future, moment in list(self._look_at.items()):
            if moment <= now:
                abandon: Callable[[Future[Any], float], float]
                abandon = self._caller.executor.abandon  # type: ignore[attr-defined]
                self._look_at[future] = now + abandon(future, timeout)
        self._next_look = min(self._look_at.values(), default=math.inf)

    def _settle(self, future: Future[Any]) -> None:
        task = self._running.pop(future, None)
        self._look_at.pop(future, None)
        if task is None:
            return
        if apart := killers_apart(task, future):
            for each in apart:
                self._submit(each)
            return
        outcomes = outcomes_of(self._caller, task, future)
        for place, (arguments, outcome) in enumerate(
            zip(task.batch, outcomes, strict=True), task.first
        ):
            is_value, content = outcome
            wait = None if is_value else self._wait_until_again(content, task.attempts)
            if wait is None:
                self._take_in(place, outcome)
            else:
                again = Task(place, [arguments], task.attempts + 1)
                heapq.heappush(self._due, (time.monotonic() + wait, place, again))
                self._tally.retries += 1

    def _wait_until_again(self, error: BaseException, attempts: int) -> float | None:
        if self._wait_before is None or not isinstance(error, Exception):
            return None
        return self._wait_before(error, attempts)

    def _take_in(self, place: int, outcome: Outcome) -> None:
        self._tally.done += 1
        self._tally.failed += not outcome[0]
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


def _raisable(error: BaseException) -> BaseException:
    """What to raise for it: a StopIteration would pass for the end of the results (PEP 479)."""
    if not isinstance(error, StopIteration):
        return error
    instead = RuntimeError("the function raised StopIteration")
    instead.__cause__ = error
    for note in getattr(error, "__notes__", ()):
        instead.add_note(note)
    return instead
