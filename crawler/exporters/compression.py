"""Compressed files, by suffix. The same items give the same bytes: no time or name is in them."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from crawler.errors import UsageError
from crawler.exporters import missing

SUFFIXES = (".gz", ".zst")
_BUFFER = 128 * 1024  # lines are too short to be compressed one by one
_PIECE = 4 * 1024  # what is made of it may be 30,000 times as large


def without_compression(path: Path) -> Path:
    """`posts.jsonl.gz` -> `posts.jsonl`; others as they are."""
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path


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


@contextmanager
def decompressed(path: Path) -> Iterator[BinaryIO]:
    """A file to read from, unpacked if its suffix says that it is compressed.

    Raises UsageError, also while it is read, if that is damaged or can't be read.
    """
    suffix = path.suffix.lower()
    check_compression(suffix)
    try:
        with path.open("rb") as file:
            yield file if suffix not in SUFFIXES else _unpacked(file, suffix)
    except _damages(suffix) as error:
        raise UsageError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from None


def _unpacked(file: io.BufferedReader, suffix: str) -> BinaryIO:
    if not file.peek(1):
        raise EOFError("it is empty")
    if suffix == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    return io.BufferedReader(_Frames(file), _BUFFER)


def _damages(suffix: str) -> tuple[type[Exception], ...]:
    """What is raised for a damaged file."""
    if suffix != ".zst":
        return (EOFError, zlib.error, gzip.BadGzipFile)
    import zstandard

    return (EOFError, zstandard.ZstdError)


class _Frames(io.RawIOBase):
    """Zstandard, unpacked. The package's own reader takes half a frame for a whole one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            packed = self._file.read(_PIECE)
            if not packed:
                if self._frame is not None:
                    raise EOFError("it ends too early")
                return 0
            self._ready = memoryview(self._unpack(packed))
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _unpack(self, packed: bytes) -> bytes:
        import zstandard

        pieces = []
        while packed:
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            pieces.append(self._frame.decompress(packed))
            packed = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        return b"".join(pieces)
