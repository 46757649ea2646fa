"""How a function is called on an executor: as it is, or as a parcel for a process of its own."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from crawler.attempt import Arguments, Outcome, attempt_each
from crawler.errors import UsageError, WorkerDiedError
from crawler.executors import make_executor

_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 200


@dataclass(frozen=True, slots=True)
class Task:
    """Calls that are handed to an executor together."""

    first: int
    """The place of the first of them among all inputs."""
    batch: Sequence[Arguments]
    attempts: int = 1


class Caller(Protocol):
    """Calls one function on one executor."""

    executor: Executor

    def submit(self, batch: Sequence[Arguments]) -> Future[Any]:
        """Have the function called for each of the arguments."""
        ...

    def outcomes(self, answer: Any) -> list[Outcome]:
        """What the calls ended in, from the Future's result."""
        ...


class _Here:
    """In this process: the function and its arguments as they are."""

    def __init__(self, executor: Executor, function: Callable[..., Any]) -> None:
        self.executor = executor
        self._function = function

    def submit(self, batch: Sequence[Arguments]) -> Future[Any]:
        return self.executor.submit(attempt_each, self._function, batch)

    def outcomes(self, answer: Any) -> list[Outcome]:
        found: list[Outcome] = answer
        return found


class _Elsewhere:
    """In another process: both as bytes."""

    def __init__(self, executor: Executor, function: Callable[..., Any]) -> None:
        from crawler.parcel import pack_function

        self.executor = executor
        self._function = pack_function(function)

    def submit(self, batch: Sequence[Arguments]) -> Future[Any]:
        from crawler.parcel import pack_batch, work

        try:
            packed = pack_batch(batch)
        except Exception as error:  # noqa: BLE001  (arguments that can't travel fail their task)
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed
        return self.executor.submit(work, self._function, packed)

    def outcomes(self, answer: Any) -> list[Outcome]:
        from crawler.parcel import unpack_outcomes

        return unpack_outcomes(answer)


def make_caller(
    executor: Executor, mode: str, function: Callable[..., Any], *, gives_up: bool = False
) -> Caller:
    """Raises UsageError for a function that can't be called, or not be given up, in that mode."""
    if not callable(function):
        raise UsageError(f"{function!r} is no function")
    if gives_up and not hasattr(executor, "abandon"):
        raise UsageError(f"timeout: no task can be given up in mode {mode}")
    return (_Elsewhere if mode == "processes" else _Here)(executor, function)


def outcomes_of(caller: Caller, task: Task, future: Future[Any]) -> list[Outcome]:
    """What became of the calls of a task that is done; exceptions have a note of their inputs."""
    error = CancelledError("the pool was shut down") if future.cancelled() else future.exception()
    if error is None:
        try:
            outcomes = caller.outcomes(future.result())
        except Exception as problem:  # noqa: BLE001  (no memory, say)
            error = RuntimeError(f"the result can't travel: {problem!r}")
        else:
            for number, (is_value, content) in enumerate(outcomes):
                if not is_value:
                    _tell_inputs(content, task.first + number, task.batch[number : number + 1])
            return outcomes
    _tell_inputs(error, task.first, task.batch)
    return [(False, error)] * len(task.batch)


def killers_apart(task: Task, future: Future[Any]) -> list[Task]:
    """The calls of a task that killed its process, each by itself: which it was isn't known."""
    if len(task.batch) == 1 or future.cancelled():
        return []
    if not isinstance(future.exception(), WorkerDiedError):
        return []
    return [Task(place, [arguments]) for place, arguments in enumerate(task.batch, task.first)]


def _tell_inputs(error: BaseException, first: int, batch: Sequence[Arguments]) -> None:
    """Note on an exception of which input it is."""
    if len(batch) > 1:
        note = f"inputs {first} to {first + len(batch) - 1}"
    else:
        (arguments,) = batch
        note = f"input {first}: {_shown.repr(arguments[0] if len(arguments) == 1 else arguments)}"
    with suppress(AttributeError, TypeError):  # an exception may refuse to be changed
        error.add_note(note)


def start_executor(
    mode: str,
    workers: int | None,
    initializer: Callable[..., Any] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Executor:
    """Workers that do one task at a time each. Raises UsageError where there can be none."""
    begin: Callable[..., None] = _begin
    setup: tuple[Any, ...] = (initializer, *initargs)
    if mode == "processes":
        from crawler.parcel import Luggage, begin_elsewhere, pack_function
        from crawler.process import in_worker_process

        if in_worker_process():
            raise UsageError("a worker process can't have processes of its own: use threads in it")
        begin = begin_elsewhere
        packed = None if initializer is None else pack_function(initializer)
        setup = packed, Luggage(initargs)
    return make_executor(
        mode,
        workers=workers,
        slots=workers or os.cpu_count() or 1,
        initializer=begin,
        initargs=setup,
    )


def _begin(_seat: int, function: Callable[..., Any] | None, *arguments: Any) -> None:
    if function is not None:
        function(*arguments)
