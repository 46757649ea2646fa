"""What runs on a worker: fetch, make the Response, call the spider, return a Result.

The same steps in every mode, written once, as a coroutine. On an event loop it waits there for its
page (`run_async`); on a thread it is given a fetcher that blocks, and so never waits (`run`). It
never raises: whatever goes wrong comes back as a Failure, and the only catch-all of the code base
is here.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

from crawler.arguments import arguments_for
from crawler.download import Download, FileOrder, Wanted
from crawler.errors import CrawlError, FetchError, ItemError, Retry, SpiderNotFoundError
from crawler.fetchers import (
    AsyncFetcher,
    Exchange,
    Fetcher,
    Receiver,
    make_async_fetcher,
    make_fetcher,
)
from crawler.file_part import FilePart, ImageRules, conditions, unchanged
from crawler.item_files import ItemFiles
from crawler.loader import beside, load_function, plain_request
from crawler.proxy import Proxy
from crawler.request import Request
from crawler.response import Response
from crawler.result import RETRYABLE_STATUSES, Failure, Item, Result
from crawler.retry import parse_retry_after
from crawler.robots import MAX_BYTES
from crawler.spider import takes_response
from crawler.url import problem_with
from crawler.users_traceback import first_outside
from crawler.wording import kind_of

T = TypeVar("T")

_LONG = 0.5
"""Seconds for which a spider may hold up an event loop."""
_OFTEN = 3
"""After so many pages for which it took longer it is told; one may have loaded a library."""

log = logging.getLogger("crawler.worker")


class Monitor(Protocol):
    """Told what one seat is doing, so that others can watch."""

    def fetching(self, url: str) -> None:
        """A request goes out."""
        ...

    def parsing(self) -> None:
        """The page is there, the spider begins."""
        ...

    def idle(self) -> None:
        """It was no page."""
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
    retry_statuses: tuple[int, ...] = tuple(RETRYABLE_STATUSES)
    keep_fragments: bool = False
    max_page_items: int = 100_000
    max_page_links: int = 100_000
    private_addresses: str = "auto"
    proxy: Proxy | None = None
    hosts_kept: int = 32
    """To how many hosts each seat keeps a connection."""
    seats: int = 1
    """Requests in flight in each process."""
    files: tuple[str, ...] = ()
    """Fields of items that hold URLs of files."""
    images: tuple[str, ...] = ()
    image_rules: ImageRules = field(default_factory=ImageRules)
    max_file: int = 2**28
    file_timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A function of the user, and how it is called."""

    function: Callable[..., Any]
    takes_page: bool
    arguments: Mapping[str, Any]


@dataclass(slots=True)
class _Seat:
    """One thread that works: its fetcher and the functions it has loaded."""

    number: int
    settings: WorkerSettings
    monitor: Monitor
    fetcher: Fetcher | None = None
    functions: dict[str, _Loaded] = field(default_factory=dict)

    def function(self, reference: str, request: Request) -> _Loaded:
        """The function that gets the request's page: the spider, or the request's callback."""
        if isinstance(request.callback, str):
            reference = beside(reference, request.callback)
        if reference not in self.functions:
            function = load_function(reference)
            arguments = dict(self.settings.arguments)
            try:
                if request.callback is not None:
                    arguments = arguments_for(function, arguments)
                takes_page = takes_response(function) or request.callback is not None
            except (TypeError, ValueError) as error:  # one written in C, which has no signature
                raise SpiderNotFoundError(
                    f"{reference} is no function for a page: {error}"
                ) from error
            self.functions[reference] = _Loaded(function, takes_page, arguments)
        return self.functions[reference]

    def may_be_private(self, private: bool) -> bool:
        rule = self.settings.private_addresses
        return rule == "allow" or (rule == "auto" and private)

    async def fetch(
        self, request: Request, *, private: bool, cut_at: int | None, into: Receiver | None
    ) -> Exchange:
        """Blocks, and so never waits for an event loop."""
        if self.fetcher is None:
            self.fetcher = make_fetcher(
                timeout=self.settings.timeout,
                max_body=self.settings.max_body,
                user_agent=self.settings.user_agent,
                hosts_kept=self.settings.hosts_kept,
                proxy=self.settings.proxy,
            )
        return self.fetcher.fetch(request, private=private, cut_at=cut_at, into=into)

    async def fetch_async(
        self, request: Request, *, private: bool, cut_at: int | None, into: Receiver | None
    ) -> Exchange:
        """The seats of an event loop share a fetcher."""
        loop = asyncio.get_running_loop()
        if loop not in _async_fetchers:
            _async_fetchers[loop] = make_async_fetcher(
                timeout=self.settings.timeout,
                max_body=self.settings.max_body,
                user_agent=self.settings.user_agent,
                hosts_kept=self.settings.hosts_kept * self.settings.seats,
                proxy=self.settings.proxy,
            )
        fetcher = _async_fetchers[loop]
        return await fetcher.fetch(request, private=private, cut_at=cut_at, into=into)


class _Fetch(Protocol):
    """How a seat fetches."""

    async def __call__(
        self, request: Request, *, private: bool, cut_at: int | None, into: Receiver | None
    ) -> Exchange:
        """Raises FetchError."""
        ...


_async_fetchers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncFetcher] = WeakKeyDictionary()

_seat: ContextVar[_Seat] = ContextVar("seat")
"""The seat of the calling thread, or of the task of an event loop."""
_slow = Counter[str]()
"""For how many pages spiders held up their event loop."""


def prepare(index: int, settings: WorkerSettings, monitors: Monitors) -> None:
    """Set up the calling thread or context as seat `index`; the executors' initializer."""
    _seat.set(_Seat(index, settings, monitors.seat(index)))


def run(reference: str, request: Request, *, private: bool = True) -> Result:
    """Fetch the request and give it to the spider. Never raises.

    `private`: with `private_addresses` "auto", whether it may be fetched from a private address.
    """
    return _finished(_run(_seat.get(), _seat.get().fetch, reference, request, private=private))


async def run_async(reference: str, request: Request, *, private: bool = True) -> Result:
    """The same on an event loop. The spider is called there: while it works, nothing else does."""
    seat = _seat.get()
    result = await _run(seat, seat.fetch_async, reference, request, private=private)
    if result.spider_seconds > _LONG:
        _slow[reference] += 1
    if result.spider_seconds > _LONG and _slow[reference] == _OFTEN:
        log.warning(
            "%s took %.1f s for %s, and all other pages waited meanwhile; threads suit it better "
            "(--mode threads, or processes with --fetcher requests)",
            reference.rpartition(":")[2],
            result.spider_seconds,
            request.url,
        )
    return result


def read_robots(request: Request, *, private: bool = True) -> Result:
    """Fetch a robots.txt: what it holds, read as Latin-1, is `robots` of an item. Never raises."""
    return _finished(_read_robots(_seat.get(), _seat.get().fetch, request, private=private))


async def read_robots_async(request: Request, *, private: bool = True) -> Result:
    """The same on an event loop."""
    return await _read_robots(_seat.get(), _seat.get().fetch_async, request, private=private)


def download(request: Request, order: FileOrder, *, private: bool = True) -> Result:
    """Fetch a file and store it; if an earlier one is unchanged, that stays. Never raises."""
    seat = _seat.get()
    return _finished(_download(seat, seat.fetch, _here, request, order, private=private))


async def download_async(request: Request, order: FileOrder, *, private: bool = True) -> Result:
    """The same on an event loop; what takes long besides fetching is done in a thread."""
    seat = _seat.get()
    aside = asyncio.to_thread
    return await _download(seat, seat.fetch_async, aside, request, order, private=private)


async def _here(function: Callable[..., T], *args: Any) -> T:
    return function(*args)


def _finished(steps: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that never waits comes to."""
    try:
        steps.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise RuntimeError("it waits for an event loop, and there is none")


async def _run(
    seat: _Seat, fetch: _Fetch, reference: str, request: Request, *, private: bool
) -> Result:
    result = Result(failure=Failure("worker", "interrupted"))
    try:
        result = await _work(seat, fetch, reference, request, private=private)
        result = replace(result, worker=seat.number)
    finally:
        seat.monitor.done(
            items=len(result.items),
            body_bytes=result.body_bytes,
            failed=result.failure is not None,
        )
    return result


async def _read_robots(seat: _Seat, fetch: _Fetch, request: Request, *, private: bool) -> Result:
    started = time.perf_counter()
    exchange = None
    try:
        seat.monitor.fetching(request.url)
        private = seat.may_be_private(private)
        exchange = await _fetch(fetch, request, private=private, cut_at=MAX_BYTES + 1)
        location = _redirect_target(exchange)
        if location is not None:
            return _result(exchange, started, redirect=location)
        _raise_for_status(exchange, request, RETRYABLE_STATUSES)
    except FetchError as error:
        return _result(exchange, started, failure=error.failure)
    finally:
        seat.monitor.idle()
    given = _Given([{"robots": exchange.body.decode("latin-1")}], [])
    return _result(exchange, started, given=given)


async def _download(
    seat: _Seat,
    fetch: _Fetch,
    aside: Callable[..., Awaitable[Any]],
    request: Request,
    order: FileOrder,
    *,
    private: bool,
) -> Result:
    """`aside` is where files are brought to the disk and pictures made small."""
    settings = seat.settings
    started = time.perf_counter()
    exchange = stored = None
    seat.monitor.fetching(request.url)
    part = FilePart(Path(order.parts), max_bytes=settings.max_file, seconds=settings.file_timeout)
    try:
        with part:
            asked = conditions(order, request.url)
            headers = {**_FOR_FILES, **asked, **request.headers}
            wire = replace(request, headers=headers)
            private = seat.may_be_private(private)
            exchange = await _fetch(fetch, wire, private=private, into=part)
            location = _redirect_target(exchange)
            if location is not None:
                return _result(exchange, started, redirect=location)
            images = settings.image_rules if order.is_image else None
            if exchange.status == 304 and asked and order.earlier is not None:
                stored = await aside(unchanged, order, order.earlier, images)
            else:
                _raise_for_status(exchange, request, settings.retry_statuses, only=200)
                stored = replace(
                    await aside(part.store, _header(exchange, "content-type"), images),
                    etag=_header(exchange, "etag"),
                    last_modified=_header(exchange, "last-modified"),
                    final_url=request.url,
                )
    except FetchError as error:
        result = _result(exchange, started, failure=error.failure)
    except MemoryError as error:
        result = _result(exchange, started, failure=_out_of_memory(error))
    else:
        result = replace(_result(exchange, started), stored=stored, body_bytes=part.size)
    finally:
        seat.monitor.idle()
    if part.began is not None:
        result = replace(result, answer_seconds=part.began - started)
    return replace(result, worker=seat.number)


_FOR_FILES = {"Accept": "*/*", "Accept-Encoding": "identity"}
"""A page may come compressed; a file is wanted as it is, since it is stored and hashed."""


async def _work(
    seat: _Seat, fetch: _Fetch, reference: str, request: Request, *, private: bool
) -> Result:
    started = time.perf_counter()
    exchange = None
    try:
        loaded = seat.function(reference, request)
        argument: str | Response = request.url
        seat.monitor.fetching(request.url)
        if loaded.takes_page:
            exchange = await _fetch(fetch, request, private=seat.may_be_private(private))
            location = _redirect_target(exchange)
            if location is not None:
                return _result(exchange, started, redirect=location)
            _raise_for_status(exchange, request, seat.settings.retry_statuses)
            argument = Response(
                request.url,
                exchange.body,
                status=exchange.status,
                headers=exchange.headers,
                request=request,
                keep_fragments=seat.settings.keep_fragments,
            )
    except FetchError as error:
        return _result(exchange, started, failure=error.failure)
    except CrawlError as error:
        return _result(exchange, started, failure=Failure("spider", str(error)))
    except MemoryError as error:
        return _result(exchange, started, failure=_out_of_memory(error))
    fetched = time.perf_counter()
    seat.monitor.parsing()
    given = _Given([], [])
    failure = None
    is_private = private if exchange is None else exchange.is_private
    files = ItemFiles(
        argument,
        session=request.session,
        may_be_private=is_private,
        files=seat.settings.files,
        images=seat.settings.images,
    )
    try:
        returned = loaded.function(argument, **loaded.arguments)
        given = _given(returned, reference, seat.settings, files)
    except Retry as error:
        failure = Failure("spider", _headline(error), retryable=True, retry_after=error.after)
    except ItemError as error:
        failure = Failure("item", str(error))
    except _TooManyError as error:
        failure = Failure("too-large", str(error))
    except MemoryError as error:
        failure = _out_of_memory(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  (the one catch-all; also sys.exit() and asyncio's)
        failure = Failure("spider", _headline(error), traceback=_users_traceback(error))
    soup = argument.soup_seconds if isinstance(argument, Response) else 0.0
    return _result(exchange, started, fetched=fetched, soup=soup, given=given, failure=failure)


async def _fetch(
    fetch: _Fetch,
    request: Request,
    *,
    private: bool,
    cut_at: int | None = None,
    into: Receiver | None = None,
) -> Exchange:
    problem = problem_with(request.url)
    if problem:
        raise FetchError(Failure("url", problem))
    return await fetch(request, private=private, cut_at=cut_at, into=into)


def _redirect_target(exchange: Exchange) -> str | None:
    if exchange.status in (301, 302, 303, 307, 308):
        return _header(exchange, "location")
    return None


def _raise_for_status(
    exchange: Exchange, request: Request, retryable: Collection[int], *, only: int | None = None
) -> None:
    """Raise FetchError unless it is a 2xx, or the `only` one that will do."""
    is_unasked_part = exchange.status == 206 and "range" not in map(str.lower, request.headers)
    is_good = 200 <= exchange.status < 300 if only is None else exchange.status == only
    if is_unasked_part or not is_good:
        part = " with a part of the page, which nobody asked for" if is_unasked_part else ""
        raise FetchError(
            Failure(
                "status",
                f"the server answered {exchange.status}{part}",
                status=exchange.status,
                retryable=exchange.status in retryable,
                retry_after=parse_retry_after(_header(exchange, "retry-after")),
            )
        )


def _header(exchange: Exchange, wanted: str) -> str | None:
    return next((value for name, value in exchange.headers if name.lower() == wanted), None)


def _all(exchange: Exchange | None, wanted: str) -> tuple[str, ...]:
    if exchange is None:
        return ()
    return tuple(value for name, value in exchange.headers if name.lower() == wanted)


def _result(
    exchange: Exchange | None,
    started: float,
    *,
    fetched: float | None = None,
    soup: float = 0.0,
    given: _Given | None = None,
    redirect: str | None = None,
    failure: Failure | None = None,
) -> Result:
    now = time.perf_counter()
    fetched = now if fetched is None else fetched
    return Result(
        items=given.items if given is not None else [],
        follow=given.follow if given is not None else [],
        files=tuple(given.files) if given is not None else (),
        redirect=redirect,
        set_cookies=_all(exchange, "set-cookie"),
        failure=failure,
        status=exchange.status if exchange is not None else None,
        is_private=exchange is not None and exchange.is_private,
        body_bytes=len(exchange.body) if exchange is not None else 0,
        fetch_seconds=fetched - started,
        spider_seconds=now - fetched,
        soup_seconds=soup,
        fetched_at=time.time() - (now - fetched),
    )


@dataclass(frozen=True, slots=True)
class _Given:
    """What a spider returned or yielded, as plain data."""

    items: list[Item]
    follow: list[Request]
    files: list[Wanted] = field(default_factory=list)


class _TooManyError(Exception):
    """A page gave more items or links than a page may."""


def _given(returned: object, reference: str, settings: WorkerSettings, files: ItemFiles) -> _Given:
    if returned is None:
        return _Given([], [])
    if isinstance(returned, Request):
        return _Given([], [plain_request(returned, reference)])
    if inspect.iscoroutine(returned) or inspect.isasyncgen(returned):
        if inspect.iscoroutine(returned):
            returned.close()  # or Python would warn that nobody awaited it
        raise ItemError("the spider is an async function; write a plain one: def, not async def")
    if isinstance(returned, (dict, Download)):
        item = files.plain_item(_item(returned), 0, "item")
        return _Given([item], [], files.wanted)
    if isinstance(returned, (str, bytes)) or not isinstance(returned, Iterable):
        raise ItemError(
            f"the spider returned {kind_of(returned)}; "
            "return a dict or a list of dicts, or yield dicts and Requests"
        )
    given = _Given([], [], files.wanted)
    for index, thing in enumerate(returned):
        if isinstance(thing, Request):
            given.follow.append(plain_request(thing, reference))
            _refuse_more_than("links", settings.max_page_links, given.follow)
        elif isinstance(thing, (dict, Download)):
            number = len(given.items)
            given.items.append(files.plain_item(_item(thing), number, f"item[{index}]"))
            _refuse_more_than("items", settings.max_page_items, given.items)
            _refuse_more_than("links", settings.max_page_links, given.files)
        else:
            raise ItemError(
                f"item[{index}] is {kind_of(thing)}; yield dicts, and Requests to follow"
            )
    return given


def _item(thing: dict[Any, Any] | Download) -> dict[Any, Any]:
    """A download by itself is an item with one field."""
    return {thing.item_field: thing} if isinstance(thing, Download) else thing


def _refuse_more_than(what: str, limit: int, found: list[Any]) -> None:
    """As they come, so that a generator without end is stopped too."""
    if len(found) > limit:
        raise _TooManyError(f"the page gave more than {limit:,} {what} (max_page_{what})")


def _out_of_memory(error: MemoryError) -> Failure:
    """Another page of this process may have taken the memory: worth another attempt."""
    traceback.clear_frames(error.__traceback__)  # what fills it hangs there; telling takes some
    try:
        trace = _users_traceback(error)
    except MemoryError:
        trace = None
    return Failure("spider", _headline(error), retryable=True, traceback=trace)


def _headline(error: BaseException) -> str:
    try:
        text = str(error).strip().partition("\n")[0]
    except Exception:  # noqa: BLE001  (what a user's exception says about itself may fail too)
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _users_traceback(error: BaseException) -> str:
    """The traceback from the spider's own first frame on; ours says nothing to its author."""
    frame = first_outside(error, (__file__,)) or error.__traceback__
    return "".join(traceback.format_exception(type(error), error, frame))
