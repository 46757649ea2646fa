"""The files that pages wait for before they are committed.

    a page's Result comes   --want-->    its files that nobody has are asked for, before any page
    a file's Result comes   --returned-> stored or failed; pages that wait for it may be complete
    the page is committed   --fill-->    files get their names and items their files, in order

A URL is fetched once in a crawl, whoever wants it. What is here is memory only; what was stored
stands in the store, where a resumed crawl finds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from crawler.download import FileOrder, Wanted
from crawler.entry import Entry
from crawler.file_store import FileStore
from crawler.result import Failure, Item, Result
from crawler.url import host

_BEFORE_PAGES = 2**62
_LAST = 2**61


@dataclass(frozen=True, slots=True)
class Missed:
    """A file that can't be had."""

    entry: Entry
    failure: Failure


class Downloads:
    """Knows which files are on their way; see the module's picture.

    `missed` are the URLs of files whose failure is listed already, in a crawl that is resumed.
    """

    def __init__(self, store: FileStore, *, missed: Iterable[str] = ()) -> None:
        self._store = store
        self._pending: set[bytes] = set()
        """Keys of files that are on their way."""
        self._missed: dict[bytes, Missed] = {}
        self._listed = set(missed)

    def want(self, entry: Entry, result: Result) -> list[Entry]:
        """A page's result has come; what to fetch for it, now, before any page."""
        new = []
        for wanted in result.files:
            if wanted.key in self._pending or wanted.key in self._missed:
                continue
            known = self._store.known(wanted.key, is_image=wanted.is_image)
            if known is not None and known.is_fresh:
                continue
            # The files of earlier pages come first; who has no rank yet comes last.
            rank = min(entry.rank, _LAST) - _BEFORE_PAGES
            file = Entry(rank, wanted.request, fingerprint=wanted.key, file=wanted)
            self._pending.add(wanted.key)
            new.append(file)
        return new

    def is_complete(self, result: Result) -> bool:
        """Whether a page waits for nothing."""
        return not any(wanted.key in self._pending for wanted in result.files)

    def order(self, entry: Entry) -> FileOrder:
        """What a worker must know to fetch a file."""
        is_image = entry.file is not None and entry.file.is_image
        # Asked at each attempt: what was there may have gone, or got its name.
        known = self._store.known(entry.fingerprint, is_image=is_image)
        if known is None:
            return FileOrder(str(self._store.parts), is_image)
        return FileOrder(str(self._store.parts), is_image, known.file, str(known.path))

    def returned(self, entry: Entry, result: Result) -> None:
        """A file was stored, or failed for good."""
        self._pending.remove(entry.fingerprint)
        if result.stored is not None:
            self._store.add(entry.fingerprint, entry.request.url, result.stored)
        elif result.failure is not None:
            self._missed[entry.fingerprint] = Missed(entry, result.failure)

    def fill(self, item: Item, files: Iterable[Wanted]) -> tuple[Item, list[Missed]]:
        """An item with the files that it waits for, and what is missed for the first time.

        To be called in the order of commit. What it was made from stays as it was.
        """
        item = deepcopy(item)
        missed = []
        for wanted in files:
            url = wanted.request.url
            miss = self._missed.get(wanted.key)
            if miss is None:
                _put(item, wanted.path, self._store.commit(wanted.key, url))
                continue
            _put(item, wanted.path, None)
            if url not in self._listed:
                self._listed.add(url)
                missed.append(miss)
        return item, missed

    def sync(self) -> None:
        """Bring what was stored to the disk."""
        self._store.sync()

    def stored(self) -> tuple[int, int, int]:
        """Of this run: how many files pages got, their bytes, how many of them were unchanged."""
        return self._store.committed()


def may_be_private(entry: Entry) -> bool:
    """Whether a file may come from a private address: from its page's host, if that has one."""
    file = entry.file
    return file is not None and file.may_be_private and entry.host == host(file.request.url)


def _put(item: Item, path: tuple[str | int, ...], value: dict[str, Any] | None) -> None:
    place: Any = item
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
