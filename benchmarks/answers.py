"""Is the answer right? A program that misses a page, or a link on one, gets no figure.

Each program writes a line of JSON per page: {"url": ..., "title": ..., "links": [...]}, in any
order. `links` are the absolute http(s) URLs of all `<a href>`, without fragment. What they should
be is read from the site's files themselves, without a server.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from lxml import html  # type: ignore[import-untyped]
from w3lib.url import safe_url_string

Pages = Mapping[str, str]
"""Of each page, by its URL: a hash of its title and its links."""


class WrongAnswerError(Exception):
    """What is wrong with a program's answer, in words."""


def mark(title: str | None, links: Iterable[str]) -> str:
    """A hash of what a page holds.

    White space in the title doesn't count, nor do the order of links, what is percent-encoded in
    them (`é` or `%C3%A9`), and the slash behind a mere host: programs differ in that.
    """
    plain = [" ".join((title or "").split()), sorted(set(map(_quoted, links)))]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


@cache
def _quoted(link: str) -> str:
    parts = urlsplit(safe_url_string(link))
    return parts._replace(path=parts.path or "/").geturl()


def pages_in(folder: Path, starts: Iterable[str]) -> dict[str, str]:
    """What a crawl of a folder's HTML files has to find, from these URLs and on their hosts."""
    found: dict[str, str] = {}
    queue = deque(starts)
    hosts = {urlsplit(start).netloc for start in queue}
    seen = set(queue)

    @cache
    def parts(path: str) -> tuple[str | None, list[str]] | None:
        file = folder / unquote(path).lstrip("/")
        if not file.is_file() or file.suffix != ".html":
            return None
        root = html.document_fromstring(file.read_bytes())
        return root.findtext(".//title"), root.xpath("//a/@href")

    while queue:
        url = queue.popleft()
        page = parts(urlsplit(url).path)
        if page is None:
            continue
        title, hrefs = page
        joined = {urldefrag(urljoin(url, href.strip())).url for href in hrefs}
        links = {link for link in joined if link.startswith(("http://", "https://"))}
        found[url] = mark(title, links)
        new = {link for link in links if urlsplit(link).netloc in hosts} - seen
        seen |= new
        queue.extend(new)
    return found


def pages_of(file: Path) -> dict[str, str]:
    """What a program has written. Raises WrongAnswerError for what is not in the common form."""
    found: dict[str, str] = {}
    for number, page in enumerate(_lines(file), start=1):
        try:
            url = urldefrag(page["url"]).url
            found_now = mark(page["title"], page["links"])
        except (KeyError, TypeError) as error:
            raise WrongAnswerError(f"{file.name}, line {number}: no page: {error!r}") from None
        if url in found:
            raise WrongAnswerError(f"{url} stands there twice")
        found[url] = found_now
    return found


def _lines(file: Path) -> Iterator[Any]:
    try:
        with file.open("rb") as lines:
            for line in lines:
                yield json.loads(line)
    except FileNotFoundError:
        raise WrongAnswerError("it wrote no answer") from None
    except ValueError as error:
        raise WrongAnswerError(f"{file.name} is no JSON lines: {error}") from None


def check(answer: Pages, expected: Pages) -> None:
    """Raises WrongAnswerError, with the first difference, unless both are the same."""
    check_urls(answer, expected)
    wrong = sorted(url for url, page in expected.items() if answer[url] != page)
    if wrong:
        raise WrongAnswerError(
            f"title or links of {len(wrong)} of {len(expected)} pages are wrong, as of {wrong[0]}"
        )


def check_urls(urls: Iterable[str], expected: Pages) -> None:
    """The same for a program that only fetches."""
    urls = set(urls)
    for what, which in (("missing", expected.keys() - urls), ("too many", urls - expected.keys())):
        if which:
            raise WrongAnswerError(
                f"{len(which)} of {len(expected)} pages are {what}, as {min(which)}"
            )
