"""A spider: the user's plain function, with where it starts and how it wants to be run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from crawler.request import Request
from crawler.step import Step

F = TypeVar("F", bound=Callable[..., Any])
Start = Iterable[str | Request] | Callable[..., Iterable[str | Request]]

_MARK = "__crawl_spider__"


@dataclass(frozen=True, slots=True)
class Options:
    """What `@spider` was given."""

    name: str | None = None
    url: str | None = None
    start: Start | None = None
    practice_site: str | None = None
    steps: Sequence[Step | str] = ()
    item: type | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def spider(
    url: str | None = None,
    *,
    name: str | None = None,
    start: Start | None = None,
    practice_site: str | None = None,
    steps: Sequence[Step | str] = (),
    item: type | None = None,
    **settings: Any,
) -> Callable[[F], F]:
    """Mark a function as a spider; the function itself stays as it is.

    The function takes a Response and returns a dict, a list of dicts, None, or yields dicts.

    `url` is where it starts: a URL, or a template with `{page}` ("https://site/page/{page}/") for
    `--pages`; names of the function's own keyword arguments may stand in it too. `start` gives the
    start requests instead: a list of URLs or Requests, or a function that returns one.
    `practice_site` says why the real site can't be crawled; the bundled practice site is crawled in
    its place. `steps` are callables `item -> item | None`, or text such as `"dedupe('id')"`,
    applied in order as results are committed, before those of the setting `steps`. `item` is what
    the step `validate` checks items against: a dataclass or TypedDict. All else is a setting
    (`pages=`, `mode=`, `delay=`, ...), which the command line overrides.
    """
    if callable(url):
        raise TypeError("write @spider() with brackets: @spider(url='https://...')")
    if isinstance(steps, str):
        raise TypeError(f"steps is a list: steps=[{steps!r}]")
    options = Options(name, url, start, practice_site, tuple(steps), item, settings)

    def mark(function: F) -> F:
        setattr(function, _MARK, options)
        return function

    return mark


@dataclass(frozen=True, slots=True)
class Spider:
    """A spider as the loader found it."""

    name: str
    reference: str
    """How a worker finds the function again: `package.module:function` or `/file.py:function`."""
    function: Callable[..., Any]
    options: Options
    file: Path | None = None


def is_marked(function: object) -> bool:
    """Whether `@spider` was put on the function."""
    return isinstance(getattr(function, _MARK, None), Options)


def options_of(function: object) -> Options:
    """What `@spider` was given, or the defaults for a bare function."""
    options = getattr(function, _MARK, None)
    return options if isinstance(options, Options) else Options()


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call of it does nothing yet: an `async def`, or an object that is called as one."""
    called: tuple[object, ...] = (function, type(function).__call__)
    return any(map(inspect.iscoroutinefunction, called)) or any(
        map(inspect.isasyncgenfunction, called)
    )


def takes_response(function: Callable[..., Any]) -> bool:
    """Whether the function wants the fetched page; a bare one gets the URL and fetches by itself.

    It does if it is marked, or if its first parameter is called `response` or annotated so.
    """
    if is_marked(function):
        return True
    try:
        first = next(iter(inspect.signature(function).parameters.values()), None)
    except (ValueError, TypeError):  # some builtins don't tell
        first = None
    if first is None:
        return False
    annotation = first.annotation
    type_name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return first.name == "response" or type_name.rpartition(".")[2].strip("'\"") == "Response"
