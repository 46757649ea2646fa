"""`map` and `starmap` for any function, on the executors: lazy, in the order of the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from crawler.attempt import Arguments
from crawler.calls import make_caller, start_executor
from crawler.errors import Retry, UsageError
from crawler.lazy import AHEAD, OnError, Results
from crawler.loader import end_import_by_worker
from crawler.spider import is_async
from crawler.tally import Tally

if TYPE_CHECKING:
    from crawler.retry import RetryPolicy

R = TypeVar("R")
_MODES = ("threads", "processes", "sequential")


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
    progress: bool = ...,
    chunksize: int = ...,
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
    progress: bool = ...,
    chunksize: int = ...,
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
    progress: bool = False,
    chunksize: int = 1,
) -> Results[Any]:
    """Call `fn` for each input, several at once; an iterator of the results, in their order.

    `mode` is "threads", "processes" or "sequential". `timeout` are seconds for a task; then its
    process is killed and replaced, or its thread left behind, and it fails with a TimeoutError.
    `retry` is how often a task that fails is tried again, or a RetryPolicy. What fails for good
    is raised at its place, which ends the iteration; with `on_error` "return" the exception stands
    in the result's place, with "skip" nothing does. Each exception has a note that tells the input.
    With `ordered=False` results come as they are done. With `progress` stderr shows how far it is:
    a bar on a terminal, else a line every ten seconds; how many there are is known from iterables
    that have a length, or else once they have come to their end. A worker is given `chunksize`
    inputs at a time: more of them cost less where the function takes less than a few ms.

    Work begins when the first result is asked for; inputs are taken from the iterables at most
    16 a worker ahead. Raises UsageError for what can't be done.
    """
    if not iterables:
        raise UsageError("map needs something to go through: map(function, inputs)")
    terms = _Terms(mode, workers, timeout, retry, on_error, ordered, progress, chunksize)
    return _results(fn, zip(*iterables, strict=False), iterables, terms)


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
    progress: bool = ...,
    chunksize: int = ...,
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
    progress: bool = ...,
    chunksize: int = ...,
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
    progress: bool = False,
    chunksize: int = 1,
) -> Results[Any]:
    """As `map`, but each input is a tuple of arguments: `fn(*arguments)`."""
    terms = _Terms(mode, workers, timeout, retry, on_error, ordered, progress, chunksize)
    return _results(fn, (tuple(arguments) for arguments in iterable), (iterable,), terms)


@dataclass(frozen=True, slots=True)
class _Terms:
    """How it is to be done; checked as it is made."""

    mode: str
    workers: int
    timeout: float | None
    retry: RetryPolicy | int | None
    on_error: OnError
    is_ordered: bool
    is_shown: bool
    chunksize: int

    def __post_init__(self) -> None:
        if not isinstance(self.mode, str) or not (self.mode in _MODES or ":" in self.mode):
            loop = "; it is for the pages of a crawl" if self.mode == "async" else ""
            raise UsageError(
                f"mode: {self.mode!r} is none of {', '.join(map(repr, _MODES))} or "
                f"'package.module:Executor'{loop}"
            )
        is_whole = isinstance(self.workers, int) and _is_number(self.workers)
        if not is_whole or self.workers < 1:
            raise UsageError(f"workers: {self.workers!r} is no number of workers; give 1 or more")
        if self.timeout is not None and not (_is_number(self.timeout) and self.timeout > 0):
            raise UsageError(
                f"timeout: {self.timeout!r} is no number of seconds; give more than 0, or None"
            )
        if self.on_error not in ("raise", "return", "skip"):
            raise UsageError(f"on_error: {self.on_error!r} is none of 'raise', 'return', 'skip'")
        if not isinstance(self.chunksize, int) or self.chunksize < 1:
            raise UsageError(
                f"chunksize: {self.chunksize!r} is no number of inputs; give 1 or more"
            )
        if self.chunksize > 1 and self.timeout is not None:
            raise UsageError("chunksize: inputs with a timeout are handed out one by one")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _results(
    fn: Callable[..., Any],
    inputs: Iterator[Arguments],
    sources: Iterable[Iterable[Any]],
    terms: _Terms,
) -> Results[Any]:
    end_import_by_worker()
    if is_async(fn):
        raise UsageError(
            f"{fn!r} is an async function, a call of which does nothing yet; write a plain one, "
            "which may do asyncio.run(...)"
        )
    wait_before = _waits(terms.retry)
    is_sequential = terms.mode == "sequential"
    workers = 1 if is_sequential else terms.workers
    executor = start_executor(terms.mode, workers)
    try:
        caller = make_caller(executor, terms.mode, fn, gives_up=terms.timeout is not None)
    except UsageError:
        executor.shutdown()
        raise
    return Results(
        caller,
        inputs,
        ahead=1 if is_sequential else AHEAD * workers,
        batch_size=1 if is_sequential else terms.chunksize,
        is_ordered=terms.is_ordered,
        timeout=terms.timeout,
        wait_before=wait_before,
        on_error=terms.on_error,
        owns_executor=True,
        tally=Tally(_length(sources), is_shown=True) if terms.is_shown else None,
    )


def _length(sources: Iterable[Iterable[Any]]) -> int | None:
    """How many inputs there are at most, as far as the iterables know."""
    return min((len(source) for source in sources if isinstance(source, Sized)), default=None)


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
