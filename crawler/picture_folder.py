"""A folder of pictures -> a folder of their thumbnails.

    files in order --> workers: make, and stage --> in order: the list, then to its place

Nothing in the folder of thumbnails is overwritten but a thumbnail of the same picture, as
`crawler.thumbnail_list` knows it. A file that gives none is told with its reason; the others go on.
Workers write to a hidden folder, side by side; a thumbnail is renamed to its place, so it is there
whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.errors import ImageError, OutputError, UsageError
from crawler.mapping import starmap
from crawler.publish import replacing
from crawler.thumbnail_list import ThumbnailList
from crawler.thumbnail_rule import ThumbnailRule

_LONGEST_NAME = 255
"""Bytes, on nearly all file systems."""
_STAGING = ".thumbnails.new"
_SUFFIXES = {"jpeg": (".jpg", ".jpeg"), "png": (".png",), "webp": (".webp",)}


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one file: a thumbnail, or a problem."""

    source: Path
    thumbnail: Path | None = None
    problem: str | None = None


def thumbnail_folder(
    folder: Path,
    out: Path,
    rule: ThumbnailRule,
    *,
    mode: str = "threads",
    workers: int | None = None,
    progress: bool = False,
) -> Iterator[Made]:
    """Make a thumbnail in `out` of each file in `folder` and the folders in it, in order.

    Those whose names begin with a dot are left out, and `out`, if it lies in `folder`; links to
    folders aren't followed. Raises, when the first is asked for, UsageError for what can't be done,
    LockedError if another one is at work there, OutputError if a thumbnail can't be written.
    """
    try:
        from crawler import thumbnails  # noqa: F401
    except ImportError:
        raise UsageError("thumbnails need Pillow: pip install 'crawl-in-order[images]'") from None
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if out.samefile(folder):
            raise UsageError(f"{out} is the folder of the pictures: name another for thumbnails")
        files = _Files(folder, out)
        with (
            ThumbnailList(out) as listed,
            _empty_folder(out / _STAGING) as staging,
            starmap(
                _make,
                _Calls(files, rule, staging),
                mode=mode,
                workers=workers or os.cpu_count() or 1,
                on_error="return",
                progress=progress,
            ) as results,
        ):
            for result in results:
                yield _keep(files.pulled.popleft(), result, out, listed)
    except OSError as error:
        where = f" {error.filename}" if error.filename else f" to {out}"
        raise OutputError(f"can't write{where}: {error.strerror or error}") from None


@contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    """For as long as the context lasts; what a killed run left there is removed."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield path
    finally:
        # A thread that was left behind may still be about to write there.
        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    names: dict[str, str]
    """What its thumbnail is called in each format: `2019/a.jpg`."""
    error: OSError | None = None
    """Why a folder couldn't be read."""


class _Files:
    """The files below a folder in order: those of a folder by name, then its folders by name."""

    def __init__(self, folder: Path, out: Path) -> None:
        self._folder = folder
        self._out = out.stat()
        self.pulled: deque[_File] = deque()
        """Those that were handed out; whoever has done with them takes them from here."""

    def __len__(self) -> int:
        return sum(1 for _ in self._walk())

    def __iter__(self) -> Iterator[_File]:
        for file in self._walk():
            self.pulled.append(file)
            yield file

    def _walk(self) -> Iterator[_File]:
        left = [(self._folder, "")]
        while left:
            folder, place = left.pop()
            try:
                with os.scandir(folder) as scan:
                    names = sorted(e.name for e in scan if not e.name.startswith("."))
            except OSError as error:
                yield _File(folder, {}, error)
                continue
            taken = {name.casefold() for name in names}
            inner = []
            for name in names:
                path = folder / name
                if not path.is_dir():
                    called = {kind: place + _name(name, kind, taken) for kind in _SUFFIXES}
                    yield _File(path, called)
                elif not path.is_symlink() and not self._is_out(path):
                    inner.append((path, f"{place}{name}/"))
            left += reversed(inner)

    def _is_out(self, folder: Path) -> bool:
        try:
            return os.path.samestat(folder.stat(), self._out)
        except OSError:
            return False  # it has just gone; to read it will tell


class _Calls:
    """The arguments for each file; as many as there are files."""

    def __init__(self, files: _Files, rule: ThumbnailRule, staging: Path) -> None:
        self._files = files
        self._rule = rule
        self._staging = staging

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for number, file in enumerate(self._files):
            yield file.path, file.error, self._rule, self._staging / str(number)


def _name(name: str, kind: str, taken: Set[str]) -> str:
    """What the thumbnail of a file is called: as the file, if that says the format.

    Else a suffix comes after its name, once more if there is such a file too: so no two files of a
    folder, whose names are `taken` (in small letters), have one name for their thumbnails.
    """
    if name.lower().endswith(_SUFFIXES[kind]):
        return name
    suffix = _SUFFIXES[kind][0]
    name += suffix
    while name.casefold() in taken:
        name += suffix
    return name


@dataclass(frozen=True, slots=True)
class _Staged:
    """A thumbnail that is made, and has yet to come to its place."""

    path: Path
    format: str
    width: int
    height: int
    sha256: str


def _make(path: Path, error: OSError | None, rule: ThumbnailRule, staged: Path) -> _Staged:
    from crawler.thumbnails import make_thumbnail

    if error is not None:
        raise error
    if path.exists() and not path.is_file():  # to open a pipe would wait for its writer
        raise ImageError("no-image", "this is no file")
    made = make_thumbnail(path, rule)
    try:
        staged.write_bytes(made.data)
    except OSError as problem:
        raise OutputError(f"can't write {staged}: {problem.strerror or problem}") from None
    return _Staged(staged, made.format, made.width, made.height, _hash(made.data))


def _keep(file: _File, result: _Staged | Exception, out: Path, listed: ThumbnailList) -> Made:
    source = os.path.relpath(file.path, out)
    if isinstance(result, OutputError):
        raise result
    if isinstance(result, Exception):
        kind, message = _problem(result)
        listed.add({"source": source, "kind": kind, "message": message})
        return Made(file.path, problem=message)
    name = file.names[result.format]
    target = out / name
    in_the_way = _in_the_way(target, result.sha256, name, source, listed)
    if in_the_way is not None:
        result.path.unlink()
        listed.add({"source": source, "kind": "exists", "message": in_the_way})
        return Made(file.path, problem=in_the_way)
    size = {"width": result.width, "height": result.height}
    listed.add({"source": source, "thumbnail": name, **size, "sha256": result.sha256})
    if not target.parent.is_dir():
        target.parent.mkdir(parents=True)
    if target.exists() and _hash(target.read_bytes()) == result.sha256:
        result.path.unlink()
    else:
        _place(result.path, target)
    return Made(file.path, target)


def _place(staged: Path, target: Path) -> None:
    try:
        staged.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # a folder of the thumbnails lies on another disk
            raise
        with replacing(target) as stream:
            stream.write(staged.read_bytes())
        staged.unlink()


def _in_the_way(
    target: Path, sha256: str, name: str, source: str, listed: ThumbnailList
) -> str | None:
    """What keeps a thumbnail from being written, in words."""
    if len(os.fsencode(target.name)) > _LONGEST_NAME:
        return f"the name of its thumbnail would be too long: {target.name}"
    nearest = next(parent for parent in target.parents if os.path.lexists(parent))
    if not nearest.is_dir():
        return f"{nearest} is in the way of its thumbnail: move it away"
    if not os.path.lexists(target):
        return None
    if target.is_file() and not target.is_symlink():
        old = _hash(target.read_bytes())
        if old == sha256 or listed.owns(name, source, old):
            return None
    return f"{target} exists, and is no thumbnail of it: move it away"


def _problem(error: Exception) -> tuple[str, str]:
    if isinstance(error, ImageError):
        return error.kind, error.message
    if isinstance(error, OSError):
        return "unreadable", f"it can't be read: {error.strerror or error}"
    return "failed", f"{type(error).__name__}: {error}"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
