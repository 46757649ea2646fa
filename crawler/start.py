"""Where a crawl begins: the start requests of a spider, or of `--urls`, in order."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from crawler.errors import CrawlError, ItemError, UsageError
from crawler.pages import Pages, expand, paginate
from crawler.request import Request
from crawler.spider import Spider
from crawler.url import move
from crawler.users_traceback import failed_start
from crawler.well_formed import well_formed
from crawler.wording import kind_of

Start = tuple[Iterator[Request], int | None]
"""The requests, made as they are taken, and how many there are, or None when only the end tells."""


def start_requests(
    spider: Spider,
    *,
    pages: Pages | None,
    urls: str | Request | Iterable[str | Request] | None,
    arguments: Mapping[str, Any],
    site: Callable[[], str] | None = None,
) -> Start:
    """The start of a crawl. `site` says, once it is needed, where else the requests shall go.

    Raises UsageError when there is no start, or `pages` doesn't fit it.
    """
    if urls is not None:
        requests, total = _from_urls(urls)
    elif spider.options.start is not None:
        requests, total = _from_urls(_call_start(spider, spider.options.start, arguments))
    elif spider.options.url is not None:
        requests, total = _from_template(spider, spider.options.url, pages, arguments)
    else:
        raise UsageError(
            f"the spider {spider.name} names no start: give --urls 'https://site/page/{{1..4}}/', "
            "or mark it with @spider(url='https://site/page/{page}/')"
        )
    if site is not None:
        requests = _moved(requests, site)
    return requests, total


def check_names(spider: Spider) -> None:
    """Raise UsageError if the spider's function calls a parameter as the number of the page is."""
    url = spider.options.url
    if url is None or spider.options.start is not None or "page" not in _fields(url):
        return
    with suppress(ValueError, TypeError):  # some builtins don't tell
        if "page" in list(inspect.signature(spider.function).parameters)[1:]:
            raise _page_is_taken(url)


def _page_is_taken(url: str) -> UsageError:
    return UsageError(
        f"{{page}} in the url {url!r} is the number of the page, so no argument can be called "
        'page: give it another name; the number is in response.meta["page"]'
    )


def _quoted(name: str, value: object, template: str) -> object:
    """An argument as a part of a URL: quoted, unless it is where the URL begins."""
    if not isinstance(value, str) or template.startswith(f"{{{name}}}"):
        return value
    return quote(value, safe="")


def _moved(requests: Iterator[Request], site: Callable[[], str]) -> Iterator[Request]:
    here = site()
    for request in requests:
        yield replace(request, url=move(request.url, here))


def _from_urls(urls: str | Request | Iterable[str | Request]) -> Start:
    """URLs and Requests; text alone is a pattern."""
    if isinstance(urls, str):
        try:
            urls = list(expand(urls))
        except ValueError as error:
            raise UsageError(f"the URL pattern can't be used: {error}") from None
    if isinstance(urls, Request):
        urls = [urls]
    if isinstance(urls, bytes) or not isinstance(urls, Iterable):
        raise UsageError(
            f"urls: {urls!r} is {kind_of(urls)}; give a list of URLs or Requests, or text"
        )
    if not isinstance(urls, Sequence):
        return map(_request, urls), None
    if not urls:
        raise UsageError("there are no URLs to crawl")
    return iter([_request(url) for url in urls]), len(urls)


def _request(url: object) -> Request:
    if isinstance(url, str):
        return Request(url)
    if not isinstance(url, Request):
        raise UsageError(f"{url!r} is {kind_of(url)}, neither a URL nor a Request")
    try:
        return well_formed(url)
    except ItemError as error:
        raise UsageError(f"the start of the crawl: {error}") from None


def _call_start(spider: Spider, start: Any, arguments: Mapping[str, Any]) -> str | Iterable[Any]:
    if callable(start):
        wanted = inspect.signature(start).parameters
        try:
            start = start(**{key: value for key, value in arguments.items() if key in wanted})
        except CrawlError:
            raise
        except (Exception, SystemExit) as error:
            raise failed_start(error) from error
    if isinstance(start, Request):
        return [start]
    if not isinstance(start, Iterable):
        raise UsageError(
            f"the start of the spider {spider.name} is {kind_of(start)}; "
            "it must be URLs or Requests, or a function that returns or yields them"
        )
    return start


def _fields(template: str) -> set[str]:
    try:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise UsageError(f"the spider's url {template!r} is no template: {error}") from None


def _from_template(
    spider: Spider, template: str, pages: Pages | None, arguments: Mapping[str, Any]
) -> Start:
    parameters = inspect.signature(spider.function).parameters.values()
    known = {p.name: p.default for p in parameters if p.default is not p.empty} | dict(arguments)
    fields = _fields(template)
    if "page" in fields and "page" in arguments:  # which a **function takes
        raise _page_is_taken(template)
    unknown = fields - {"page"} - set(known)
    if unknown:
        raise UsageError(
            f"the spider's url {template!r} names {', '.join(sorted(unknown))}, "
            "which is neither {page} nor an argument of its function with a value"
        )
    known = {name: _quoted(name, value, template) for name, value in known.items()}
    try:
        url = template.format_map({**known, "page": 1})
    except (ValueError, LookupError, AttributeError) as error:
        raise UsageError(f"the spider's url {template!r} can't be filled in: {error}") from None
    if "page" not in fields:
        if pages is not None:
            raise UsageError(f"--pages has no meaning here: the url {template!r} has no {{page}}")
        return iter([Request(url)]), 1
    if pages is None:
        raise UsageError(f"say which pages of {template}: --pages 4, 2-9, 1,3,5 or until-empty")
    return paginate(template, pages, known), pages.count()
