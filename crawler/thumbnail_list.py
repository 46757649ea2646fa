"""`thumbnails.jsonl`: which files of a folder are thumbnails of ours, and what was made of what.

A line a picture, in the order of the pictures: `source` (as seen from the folder), `thumbnail`,
`width`, `height` and `sha256`, or `kind` and `message` of a problem. By the hash a thumbnail that
somebody replaced is told from ours.

A line comes to a hidden file before its thumbnail comes to the folder; so after a kill it is still
known whose that is. At the end of a run the hidden file becomes the list.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from crawler.errors import LockedError, UsageError
from crawler.lock import lock
from crawler.publish import replacing

LIST = "thumbnails.jsonl"
_PART = f".{LIST}.part"


class ThumbnailList:
    """The list of a folder that exists; locked for others until `close`.

    Raises LockedError if it is locked, UsageError if what is there is no list, OSError.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LIST
        self._part_path = folder / _PART
        self._part = _locked(self._part_path)
        try:
            self._known: dict[str, list[dict[str, Any]]] = {}
            """By the name of the thumbnail: earlier runs' lines, oldest first."""
            for record in [*self._published(), *_records(self._part)]:
                if isinstance(record.get("thumbnail"), str):
                    self._known.setdefault(record["thumbnail"], []).append(record)
            if self._part.tell() and not _ends_with_newline(self._part):  # it was killed
                self._part.write(b"\n")
            self._begin = self._part.seek(0, os.SEEK_END)
            self._made: set[str] = set()
        except BaseException:
            if not os.fstat(self._part.fileno()).st_size:
                self._part_path.unlink()
            self._part.close()
            raise

    def owns(self, thumbnail: str, source: str, sha256: str) -> bool:
        """Whether a file of that name and content is a thumbnail that was made of that source."""
        return any(
            (record["source"], record.get("sha256")) == (source, sha256)
            for record in self._known.get(thumbnail, ())
        )

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Pictures' lines; before their thumbnails are written."""
        for record in records:
            self._part.write(_line(record))
            if "thumbnail" in record:
                self._made.add(record["thumbnail"])
        self._part.flush()

    def publish(self) -> None:
        """All pictures are done: bring the list up to date.

        Thumbnails of other pictures, which an earlier run made, stay on it, at its end.
        """
        with replacing(self.path) as stream:
            self._part.seek(self._begin)
            stream.writelines(self._part)
            for name, records in self._known.items():
                if name not in self._made:
                    stream.write(_line(records[-1]))
        self._part_path.unlink()

    def close(self) -> None:
        """Let others have it."""
        self._part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.publish()
        finally:
            self.close()

    def _published(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open("rb") as file:
                records = list(_records(file))
                if os.fstat(file.fileno()).st_size and not records:
                    raise UsageError(f"{self.path} is no list of thumbnails: move it away")
        except FileNotFoundError:
            return
        except IsADirectoryError:
            raise UsageError(f"{self.path} is a folder, and no list: move it away") from None
        yield from records


def _locked(path: Path) -> BinaryIO:
    while True:
        file = path.open("a+b")
        if not lock(file):
            file.close()
            raise LockedError(f"another `crawl thumbs` writes to {path.parent}")
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # it has just become a list: there is another one by now, or none


def _records(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """The lines that are whole; after a kill the last one may not be."""
    file.seek(0)
    for line in file:
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("source"), str):
                yield record


def _ends_with_newline(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"  # ASCII: names of files may be no UTF-8
