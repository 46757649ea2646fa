"""How a finished file takes the place of an old one: whole or not at all.

Write beside it, fsync, rename, fsync the folder: at every instant the name shows the old file or
the new one, also after a power cut.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream to write the new content of `path` to; it appears when the block ends well.

    A link is followed, and a device or pipe is written to directly: there is nothing to replace.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    path = _followed(path)
    beside = path.with_name(f".{path.name[:50]}.{secrets.token_hex(6)}.tmp")  # 255 bytes at most
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(beside, flags, 0o666), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def check_writable(path: Path) -> None:
    """Make the folder if need be, and raise OSError if `path` could not be written there.

    Then no folder is made either.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if path.exists() and not path.is_file():
        if not os.access(path, os.W_OK):  # to open a pipe would wake its reader
            raise PermissionError(f"{path} can't be written")
        return
    path = _followed(path)
    new = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.lstat()  # raises when the name is too long
        probe = path.with_name(f".{secrets.token_hex(6)}.tmp")
        probe.open("xb").close()
        probe.unlink()
    except OSError:
        for folder in new:
            with suppress(OSError):  # it was never made
                folder.rmdir()
        raise


def _followed(path: Path) -> Path:
    """Where a link leads."""
    try:
        return path.resolve()
    except RuntimeError as error:  # what Python 3.11 makes of links that lead in a circle
        raise OSError(str(error)) from None


def sync_folder(folder: Path) -> None:
    """Make the names of new files in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
