"""A file on its way to the disk: received, hashed, known for what it is, and safe from a power cut.

    Content --write--> parts/<random>.tmp --store--> fsync, parts/<SHA-256>
                                                     parts/<SHA-256>.<thumbnail>

This runs on workers; the body goes nowhere else. What it stores has no name yet: that is given when
the page is committed (see `crawler.file_store`).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Self

from crawler.download import FileOrder, StoredFile
from crawler.errors import FetchError, ImageError
from crawler.file_type import HEAD_BYTES, file_type
from crawler.result import Failure
from crawler.thumbnail_rule import ThumbnailRule


@dataclass(frozen=True, slots=True)
class ImageRules:
    """What pictures have to be like, and what is made of them."""

    min_size: tuple[int, int] = (1, 1)
    max_pixels: int = 64 * 1024 * 1024
    thumbnails: Mapping[str, ThumbnailRule] = field(default_factory=dict)


class FilePart:
    """Takes the body of one answer; gone when its block ends, unless it was stored.

    Raises FetchError: of kind `storage` when it can't be written, `image` when it should be a
    picture and is none that may be taken.
    """

    def __init__(self, folder: Path, *, max_bytes: int, seconds: float) -> None:
        self.max_bytes = max_bytes
        self.seconds = seconds
        self.size = 0
        self.began: float | None = None
        """When the answer began, by `time.perf_counter`."""
        self._folder = folder
        self._path = folder / f"{secrets.token_hex(8)}.tmp"
        self._hash = hashlib.sha256()
        self._head = b""
        self._stream: BinaryIO | None = None

    def begin(self) -> None:
        """The body comes next; what came before, of an answer that broke off, is forgotten."""
        self.began = time.perf_counter()
        self.size, self._head, self._hash = 0, b"", hashlib.sha256()
        with _errors(self._path):
            if self._stream is not None:
                self._stream.close()
                self._path.unlink()
            self._stream = _new_file(self._path)

    def write(self, data: bytes) -> None:
        """Take the next piece of the body."""
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self._hash.update(data)
        self.size += len(data)
        if self._stream is not None:
            with _errors(self._path):
                self._stream.write(data)

    def store(self, declared: str | None, images: ImageRules | None) -> StoredFile:
        """Keep what came. `declared` is its Content-Type; with `images` it has to be a picture."""
        sha256 = self._hash.hexdigest()
        content_type = file_type(self._head, declared)
        width = height = None
        suffixes: dict[str, str] = {}
        with _errors(self._path):
            self._sync()
            if images is not None:
                content_type, width, height = check_picture(self._path, images)
                suffixes = make_thumbnails(self._path, sha256, self._folder, images)
            self._path.replace(self._folder / sha256)
        return StoredFile(sha256, self.size, content_type, width, height, suffixes)

    def _sync(self) -> None:
        if self._stream is not None:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            with _errors(self._path):
                self._path.unlink(missing_ok=True)
                self._stream.close()


def conditions(order: FileOrder, url: str) -> dict[str, str]:
    """Headers by which a file need not come if it is as it was (RFC 9110, 13.1)."""
    earlier = order.earlier
    if earlier is None or earlier.final_url != url:
        return {}
    values = {"If-None-Match": earlier.etag, "If-Modified-Since": earlier.last_modified}
    return {name: value for name, value in values.items() if value is not None}


def unchanged(order: FileOrder, earlier: StoredFile, images: ImageRules | None) -> StoredFile:
    """What is there, with the thumbnails that today's rules ask for. Raises FetchError."""
    if images is None:
        return replace(earlier, is_unchanged=True)
    path, parts = Path(order.earlier_path), Path(order.parts)
    with _errors(path):
        try:
            _, width, height = check_picture(path, images)
            made = make_thumbnails(path, earlier.sha256, parts, images, made=earlier.thumbnails)
        except FileNotFoundError:  # it was there when it was asked for: the next attempt gets all
            message = f"{path} is gone; it was there a moment ago"
            raise FetchError(Failure("storage", message, retryable=True)) from None
    return replace(earlier, width=width, height=height, thumbnails=made, is_unchanged=True)


def check_picture(path: Path, images: ImageRules) -> tuple[str, int, int]:
    """Content-Type, width and height; raises FetchError if it is none that may be taken."""
    try:
        from crawler.thumbnails import measure
    except ImportError as error:
        message = f"pictures need {error.name}: pip install 'crawl-in-order[images]'"
        raise FetchError(Failure("image", message)) from error
    try:
        picture = measure(path, max_pixels=images.max_pixels)
    except ImageError as error:
        raise FetchError(Failure("image", str(error))) from error
    if picture.width < images.min_size[0] or picture.height < images.min_size[1]:
        wanted = f"{images.min_size[0]}x{images.min_size[1]}"
        message = f"{picture.width}x{picture.height} pixels, at least {wanted} are wanted"
        raise FetchError(Failure("image", f"the picture has {message}"))
    return picture.content_type, picture.width, picture.height


def make_thumbnails(
    path: Path,
    sha256: str,
    folder: Path,
    images: ImageRules,
    *,
    made: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Make those of a picture that aren't `made` yet; the suffixes of all by their names."""
    suffixes = dict(made or {})
    for name, rule in images.thumbnails.items():
        if name in suffixes:
            continue
        from crawler.thumbnails import make_thumbnail

        try:
            thumbnail = make_thumbnail(path, rule, max_pixels=images.max_pixels)
        except ImageError as error:
            raise FetchError(Failure("image", str(error))) from error
        _store(folder / f"{sha256}.{name}", thumbnail.data)
        suffixes[name] = thumbnail.suffix
    return suffixes


def _store(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{secrets.token_hex(8)}.tmp")
    with _errors(path):
        try:
            with _new_file(beside) as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _new_file(path: Path) -> BinaryIO:
    # O_EXCL: a link that somebody has put there is not followed.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb")


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"can't write {path}: {error.strerror or error}"
        raise FetchError(Failure("storage", message)) from error
