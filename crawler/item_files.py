"""Which files the items of a page name: Downloads in them, and fields that hold URLs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from crawler.download import Download, Wanted
from crawler.errors import ItemError
from crawler.fingerprint import SIZE, fingerprint
from crawler.links import join
from crawler.request import Request
from crawler.response import Response
from crawler.result import Item, plain
from crawler.url import host
from crawler.well_formed import well_formed_headers
from crawler.wording import kind_of


class ItemFiles:
    """Takes the files out of a page's items; their URLs, absolute, stand in their places meanwhile.

    `page` is what the spider was given: a Response, or a URL. `files` and `images` are names of
    fields that hold a URL, a list of URLs, or nothing; what is empty or a `data:` URL there is
    None. `may_be_private`: whether files may come from a private address, on the page's own host.
    """

    def __init__(
        self,
        page: Response | str,
        *,
        session: str = "",
        may_be_private: bool = False,
        files: tuple[str, ...] = (),
        images: tuple[str, ...] = (),
    ) -> None:
        self._page = page
        self._host = host(page if isinstance(page, str) else page.url)
        self._session = session
        self._may_be_private = may_be_private
        self._fields = {**dict.fromkeys(files, False), **dict.fromkeys(images, True)}
        self.wanted: list[Wanted] = []

    def plain_item(self, item: Mapping[Any, Any], number: int, where: str) -> Item:
        """The page's item of that number, as plain values; its files are `wanted`.

        Raises ItemError for what can't be an item, or a field that holds no URLs.
        """
        found: list[Download] = []
        given: Item = plain(item, where, files=found)
        for name, is_image in self._fields.items():
            if name in given:
                given[name] = self._of_field(given[name], (number, name), where, is_image=is_image)
        return self._lifted(given, (number,), where) if found else given

    def _of_field(self, value: Any, place: tuple[Any, ...], where: str, *, is_image: bool) -> Any:
        if value is None or isinstance(value, Download):
            return value
        if isinstance(value, str):
            if _leads_nowhere(value):
                return None
            return self._want(place, Download(value, image=is_image), where)
        if not isinstance(value, list):
            raise ItemError(
                f"{where}[{place[-1]!r}] is {kind_of(value)}; a field that names files "
                "holds a URL, a list of URLs, or None"
            )
        return [
            self._of_field(each, (*place, index), where, is_image=is_image)
            for index, each in enumerate(value)
        ]

    def _lifted(self, value: Any, place: tuple[Any, ...], where: str) -> Any:
        """The value without Downloads."""
        if isinstance(value, Download):
            return self._want(place, value, where)
        if isinstance(value, dict):
            return {key: self._lifted(each, (*place, key), where) for key, each in value.items()}
        if isinstance(value, list):
            return [self._lifted(each, (*place, n), where) for n, each in enumerate(value)]
        return value

    def _want(self, place: tuple[Any, ...], download: Download, where: str) -> str:
        url = plain(download.url)
        if not isinstance(url, str):
            raise ItemError(f"{where}: {download!r} has no URL, but {kind_of(url)}")
        try:
            headers = well_formed_headers(download.headers)
        except ItemError as error:
            raise ItemError(f"{where}: the Download of {url[:200]}: {error}") from None
        number, *path = place
        url = self._absolute(url)
        request = Request(url, headers=headers, session=self._session)
        is_private = self._may_be_private and host(url) == self._host
        key = _key(request, is_image=download.image, is_private=is_private)
        self.wanted.append(Wanted(request, key, number, tuple(path), download.image, is_private))
        return url

    def _absolute(self, url: str) -> str:
        if not url.strip():
            return ""  # which fails by itself; joined it would be the page
        page = self._page
        joined = join(page, url) if isinstance(page, str) else page.urljoin(url)
        return joined.partition("#")[0]


def _leads_nowhere(url: str) -> bool:
    """Whether it is what stands in `src` of a picture that comes later: nothing, or a `data:` URL.

    What a page is full of is no failure. A Download of it is: somebody asked for that.
    """
    url = url.strip()
    return not url or url[:5].lower() == "data:"


def _key(request: Request, *, is_image: bool, is_private: bool) -> bytes:
    """What two wanted files share if one answer serves both."""
    try:
        mark = fingerprint(request)
    except ValueError:  # no URL; it fails when it is its turn
        mark = request.url.encode("utf-8", "surrogatepass")
    more = json.dumps([is_image, is_private, sorted(request.headers.items())])
    return blake2b(mark + more.encode(), digest_size=SIZE).digest()
