"""What runs on a worker: fetch, make the Response, call the spider, return a Result.

The same function in every mode. It never raises: whatever goes wrong comes back as a Failure, and
the only catch-all of the code base is here.
"""

from __future__ import annotations

import inspect
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from crawler.errors import CrawlError, FetchError, ItemError
from crawler.fetchers import Exchange, Fetcher, make_fetcher
from crawler.loader import load_function
from crawler.request import Request
from crawler.response import Response
from crawler.result import Failure, Item, Result, plain
from crawler.retry import RETRYABLE_STATUSES, parse_retry_after
from crawler.spider import takes_response
from crawler.url import problem_with


class Monitor(Protocol):
    """Told what one seat is doing, so that others can watch."""

    def fetching(self, url: str) -> None:
        """A request goes out."""
        ...

    def parsing(self) -> None:
        """The page is there, the spider begins."""
        ...

    def done(self, *, items: int, body_bytes: int, failed: bool) -> None:
        """The page is finished."""
        ...


class Monitors(Protocol):
    """Where a seat finds its monitor; travels to other processes."""

    def seat(self, index: int) -> Monitor:
        """The monitor of one seat."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What workers know of the settings; plain data."""

    timeout: float
    max_body: int
    user_agent: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the spider."""


@dataclass(slots=True)
class _Seat:
    """One thread that works: its fetcher and the spiders it has loaded."""

    settings: WorkerSettings
    monitor: Monitor
    fetcher: Fetcher | None = None
    spiders: dict[str, tuple[Callable[..., Any], bool]] = field(default_factory=dict)

    def spider(self, reference: str) -> tuple[Callable[..., Any], bool]:
        if reference not in self.spiders:
            function = load_function(reference)
            self.spiders[reference] = (function, takes_response(function))
        return self.spiders[reference]

    def fetch(self, request: Request) -> Exchange:
        if self.fetcher is None:
            self.fetcher = make_fetcher(
                timeout=self.settings.timeout,
                max_body=self.settings.max_body,
                user_agent=self.settings.user_agent,
            )
        return self.fetcher.fetch(request)


_thread = threading.local()


def prepare(index: int, settings: WorkerSettings, monitors: Monitors) -> None:
    """Set up the calling thread as seat `index`; the executors' initializer."""
    _thread.seat = _Seat(settings, monitors.seat(index))


def run(reference: str, request: Request) -> Result:
    """Fetch the request and give it to the spider. Never raises."""
    seat: _Seat = _thread.seat
    result = Result(failure=Failure("worker", "interrupted"))
    try:
        result = _work(seat, reference, request)
    finally:
        seat.monitor.done(
            items=len(result.items),
            body_bytes=result.body_bytes,
            failed=result.failure is not None,
        )
    return result


def _work(seat: _Seat, reference: str, request: Request) -> Result:
    started = time.perf_counter()
    exchange = None
    try:
        function, wants_response = seat.spider(reference)
        argument: str | Response = request.url
        seat.monitor.fetching(request.url)
        if wants_response:
            exchange = _fetch(seat, request)
            location = _redirect_target(exchange)
            if location is not None:
                return _result(exchange, started, redirect=location)
            _raise_for_status(exchange, request)
            argument = Response(
                request.url,
                exchange.body,
                status=exchange.status,
                headers=exchange.headers,
                request=request,
            )
    except FetchError as error:
        return _result(exchange, started, failure=error.failure)
    except CrawlError as error:
        return _result(exchange, started, failure=Failure("spider", str(error)))
    fetched = time.perf_counter()
    seat.monitor.parsing()
    items: list[Item] = []
    failure = None
    try:
        items = _items(function(argument, **seat.settings.arguments))
    except ItemError as error:
        failure = Failure("item", str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  (the one catch-all; also sys.exit() and asyncio's)
        failure = Failure("spider", _headline(error), traceback=_users_traceback(error))
    return _result(exchange, started, fetched=fetched, items=items, failure=failure)


def _fetch(seat: _Seat, request: Request) -> Exchange:
    problem = problem_with(request.url)
    if problem:
        raise FetchError(Failure("url", problem))
    return seat.fetch(request)


def _redirect_target(exchange: Exchange) -> str | None:
    if exchange.status in (301, 302, 303, 307, 308):
        return _header(exchange, "location")
    return None


def _raise_for_status(exchange: Exchange, request: Request) -> None:
    is_unasked_part = exchange.status == 206 and "range" not in map(str.lower, request.headers)
    if is_unasked_part or not 200 <= exchange.status < 300:
        part = " with a part of the page, which nobody asked for" if is_unasked_part else ""
        raise FetchError(
            Failure(
                "status",
                f"the server answered {exchange.status}{part}",
                status=exchange.status,
                retryable=exchange.status in RETRYABLE_STATUSES,
                retry_after=parse_retry_after(_header(exchange, "retry-after")),
            )
        )


def _header(exchange: Exchange, wanted: str) -> str | None:
    return next((value for name, value in exchange.headers if name.lower() == wanted), None)


def _result(
    exchange: Exchange | None,
    started: float,
    *,
    fetched: float | None = None,
    items: list[Item] | None = None,
    redirect: str | None = None,
    failure: Failure | None = None,
) -> Result:
    now = time.perf_counter()
    fetched = now if fetched is None else fetched
    return Result(
        items=items or [],
        redirect=redirect,
        failure=failure,
        status=exchange.status if exchange is not None else None,
        body_bytes=len(exchange.body) if exchange is not None else 0,
        fetch_seconds=fetched - started,
        spider_seconds=now - fetched,
    )


def _items(returned: object) -> list[Item]:
    """What a spider returned or yielded, as a list of plain items."""
    if returned is None:
        return []
    if isinstance(returned, dict):
        return [plain(returned)]
    if inspect.iscoroutine(returned):
        returned.close()  # or Python would warn that nobody awaited it
        raise ItemError("the spider is an async function; write a plain one: def, not async def")
    if isinstance(returned, (str, bytes)) or not isinstance(returned, Iterable):
        raise ItemError(
            f"the spider returned a {type(returned).__name__}; "
            "return a dict or a list of dicts, or yield dicts"
        )
    return [_checked(item, index) for index, item in enumerate(returned)]


def _checked(item: object, index: int) -> Item:
    if not isinstance(item, dict):
        raise ItemError(f"item[{index}] is a {type(item).__name__}; items are dicts")
    checked: Item = plain(item, f"item[{index}]")
    return checked


def _headline(error: BaseException) -> str:
    try:
        text = str(error).strip().partition("\n")[0]
    except Exception:  # noqa: BLE001  (what a user's exception says about itself may fail too)
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _users_traceback(error: BaseException) -> str:
    """The traceback from the spider's own first frame on; ours says nothing to its author."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename == __file__:
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame or error.__traceback__))
