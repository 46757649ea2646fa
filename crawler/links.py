"""The links of a page: what its attributes hold -> absolute URLs. Pure rules on text.

Pages repeat themselves: the same few hrefs stand on each page of a folder, most of them several
times with other fragments. So fragments and repeats go first, and what a folder's hrefs lead to is
worked out once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from crawler.canonical import URL, parse_url

_AFTER_PATH = re.compile(r"[?#]")
_NEEDS_FOLDER_ONLY = re.compile(
    r"""
    [ ]*+ (?: (?: https?: )? // [^\x00-\x20/?#;:]       # with a host of its own
            | /? [^\x00-\x20/?#;:] [^:\t\r\n]* \Z      # a path
            | / \Z )
    """,
    re.VERBOSE,
)
"""Hrefs that lead from each page of a folder to the same URL; `?page=2` and `https:` don't."""


def join(base: str, href: str) -> str:
    """`href` as an absolute URL, as a browser would read it on a page whose base URL is `base`.

    One that is none for http or https ("http://[bad", "mailto:me") comes back as it is: a broken
    link must not cost a page.
    """
    return _absolute(base, href) or href.strip()


@lru_cache(maxsize=128)
def _parsed(base: str) -> URL | None:
    """None if it is no URL: then only links that need no base lead anywhere."""
    try:
        return parse_url(base)
    except ValueError:
        return None


def can_be_fetched(url: str) -> bool:
    """Whether it is an http or https URL with a host; `mailto:` and `http://[bad` are not."""
    return _parsed(url) is not None


def absolute_links(
    base: str, hrefs: Iterable[str], *, keep_fragments: bool = False
) -> Iterator[str]:
    """The URLs that can be fetched of a page's hrefs: each once, in their order.

    Links that differ only in their fragment are the same, unless `keep_fragments`.
    """
    base = str(_parsed(base) or base)
    folder = _folder(base)
    if not keep_fragments:
        base = base.partition("#")[0]
        hrefs = (href.partition("#")[0] for href in hrefs)
    given: set[str] = set()
    for href in dict.fromkeys(hrefs):
        url = _absolute(folder if _NEEDS_FOLDER_ONLY.match(href) else base, href)
        if url is not None and url not in given:
            given.add(url)
            yield url


@lru_cache(maxsize=8_192)
def _absolute(base: str, href: str) -> str | None:
    """None if it can't be fetched."""
    try:
        return str(parse_url(href, _parsed(base)))
    except ValueError:
        return None


def _folder(base: str) -> str:
    """What all pages of a folder have in common, from which most hrefs lead to the same URL."""
    path = _AFTER_PATH.split(base, maxsplit=1)[0]
    cut = path.rfind("/") + 1
    return path[:cut] if cut > path.find("//") + 2 else base
