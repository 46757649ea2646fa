"""How a finished file takes the place of an old one: whole or not at all.

Write beside it, fsync, rename, fsync the folder: at every instant the name shows the old file or
the new one, also after a power cut. Who is killed meanwhile leaves half a file beside it; it was
locked, so the next one who is about to write there can tell that nobody writes to it any more.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from crawler.lock import lock


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream to write the new content of `path` to; it appears when the block ends well.

    A link is followed, and a device or pipe is written to directly: there is nothing to replace.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
    path = _followed(path)
    with _new_file_beside(path) as (beside, stream):
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)  # before it is closed, and with that unlocked
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
        _remove_leftovers(path)
        probe = _beside(path)
        probe.open("xb").close()
        probe.unlink(missing_ok=True)
    except OSError:
        for folder in new:
            with suppress(OSError):  # it was never made
                folder.rmdir()
        raise


def _beside(path: Path) -> Path:
    """A name that nobody has, for what is to become `path`; of 255 bytes at most."""
    return path.with_name(f".{path.name[:50]}.{secrets.token_hex(6)}.tmp")


@contextmanager
def _new_file_beside(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside `path`, locked while it is open; removed in the end if it is still there.

    A signal may end the block at any moment, also before the file is locked.
    """
    while True:
        beside = _beside(path)
        try:
            with beside.open("xb") as stream:
                if _is_locked_in_time(stream):
                    yield beside, stream
                    return
        finally:
            beside.unlink(missing_ok=True)


def _is_locked_in_time(stream: BinaryIO) -> bool:
    """Lock it. False if someone took it for a leftover before that."""
    try:
        return lock(stream) and os.fstat(stream.fileno()).st_nlink > 0
    except OSError:
        return True  # a file system without locks: leftovers stay there


def _remove_leftovers(path: Path) -> None:
    """Remove what those left who were killed while they wrote what was to become `path`."""
    is_beside = re.compile(rf"\.{re.escape(path.name[:50])}\.[0-9a-f]{{12}}\.tmp").fullmatch
    for name in filter(is_beside, os.listdir(path.parent)):
        with suppress(OSError):  # it was finished meanwhile, or belongs to somebody else
            leftover = path.with_name(name)
            with leftover.open("r+b") as stream:
                if lock(stream):
                    leftover.unlink()


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
