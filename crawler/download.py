"""Files that items wait for: plain data, from what a spider asks for to what was stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from crawler.request import Request


@dataclass(frozen=True, slots=True)
class Download:
    """A file to fetch, anywhere in an item; what was stored comes in its place.

    `{"title": ..., "cover": Download(url)}` becomes `{"title": ..., "cover": {"url": ..., "path":
    ..., ...}}` when the item is committed, or `"cover": None` if the file can't be had. Yielded by
    itself it is an item whose field `item_field` holds the file. `url` may be relative to the page.
    An `image` has to be a picture, and gets thumbnails if the spider wants any.
    """

    url: str
    item_field: str = "file"
    image: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that a page's items wait for."""

    request: Request
    key: bytes
    """Two that are wanted share it if one answer serves both."""
    item: int
    """Which of the page's items."""
    path: tuple[str | int, ...]
    """Where in the item: keys and indices."""
    is_image: bool = False
    may_be_private: bool = False
    """Whether its own host may be at a private address, as that of its page is."""


def by_item(files: Iterable[Wanted]) -> dict[int, list[Wanted]]:
    """Those of each of a page's items that wait for any."""
    grouped: dict[int, list[Wanted]] = {}
    for wanted in files:
        grouped.setdefault(wanted.item, []).append(wanted)
    return grouped


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a worker stored, or found unchanged."""

    sha256: str
    size: int
    content_type: str
    width: int | None = None
    height: int | None = None
    thumbnails: Mapping[str, str] = field(default_factory=dict)
    """Suffixes of the thumbnails' files, by their names."""
    etag: str | None = None
    last_modified: str | None = None
    final_url: str = ""
    """Where it came from, after redirects: ETag and Last-Modified are good there."""
    is_unchanged: bool = False


@dataclass(frozen=True, slots=True)
class FileOrder:
    """What a worker must know to fetch a file."""

    parts: str
    """The folder for what it stores."""
    is_image: bool
    earlier: StoredFile | None = None
    """What an earlier run stored; need not come again if it is unchanged."""
    earlier_path: str = ""
    """Where that is."""
