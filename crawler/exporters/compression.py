"""Compressed files, by suffix. The same items give the same bytes: no time or name is in them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from crawler.errors import UsageError
from crawler.exporters import missing

SUFFIXES = (".gz", ".zst")
_BUFFER = 128 * 1024  # lines are too short to be compressed one by one


def check_compression(suffix: str) -> None:
    """Raise UsageError if what it needs is not installed."""
    if suffix == ".zst":
        try:
            import zstandard  # noqa: F401
        except ImportError as error:
            raise UsageError(missing(suffix, "zstd", error)) from None


@contextmanager
def compressed(stream: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    """A stream whose content comes compressed into the given one, which stays open.

    Without a suffix, that one itself.
    """
    if not suffix:
        yield stream
        return
    packer = cast(io.RawIOBase, _packer(stream, suffix))
    with io.BufferedWriter(packer, _BUFFER) as buffer:
        yield cast(BinaryIO, buffer)


def _packer(stream: BinaryIO, suffix: str) -> object:
    if suffix == ".gz":
        return gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=6)
    import zstandard

    return zstandard.ZstdCompressor().stream_writer(stream, closefd=False)
