"""A file that only grows, and can be cut back to where it is known to be whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crawler.errors import OutputError, UsageError

_BUFFER = 256 * 1024


def lines_up_to(path: Path, size: int) -> Iterator[bytes]:
    """The whole lines in the first `size` bytes of a file that may grow meanwhile."""
    with path.open("rb") as stream:
        for line in stream:
            size -= len(line)
            if size < 0 or not line.endswith(b"\n"):
                return
            yield line[:-1]


class Part:
    """Lines appended to a file. Raises OutputError, naming the file, when that isn't possible.

    `offset` is its length in bytes. What was appended before a `sync` survives a power cut, if the
    part is `durable`; a resumed crawl begins with `cut` at the offset it wrote down.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._durable = durable
        with self._errors():
            self._stream = path.open("ab", buffering=_BUFFER)
            self.offset = self._stream.seek(0, os.SEEK_END)
        self._synced = self.offset

    def append(self, lines: Iterable[bytes]) -> None:
        """Add lines, given without their ends."""
        data = b"".join(line + b"\n" for line in lines)
        with self._errors():
            self._stream.write(data)
        self.offset += len(data)

    def sync(self) -> int:
        """Bring what was appended to the disk; its offset."""
        with self._errors():
            self._stream.flush()
            if self._durable and self._synced != self.offset:
                os.fsync(self._stream.fileno())
        self._synced = self.offset
        return self.offset

    def check(self, offset: int) -> None:
        """Raise UsageError if less than that is there."""
        if offset > self.offset:
            raise UsageError(
                f"{self.path} has {self.offset} bytes, but {offset} had been written: somebody "
                "shortened it, so the run can't be resumed; nothing was changed"
            )

    def cut(self, offset: int) -> None:
        """Forget what was appended behind `offset`."""
        with self._errors():
            self._stream.truncate(offset)
            self._stream.seek(offset)
        self.offset = offset
        self._synced = -1

    def lines(self) -> Iterator[bytes]:
        """What stands in it, line by line."""
        with self._errors():
            self._stream.flush()
            with self.path.open("rb") as stream:
                for line in stream:
                    yield line.rstrip(b"\n")

    def close(self) -> None:
        """Nothing more will be appended."""
        with self._errors():
            self._stream.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"can't write {self.path}: {error.strerror or error}") from error
