"""A folder of pictures -> a folder of their thumbnails.

    files in order --> workers: make, and stage --> in order: judge --a batch--> list, then place

Nothing in the folder of thumbnails is overwritten but a thumbnail of the same picture, as
`crawler.thumbnail_list` knows it. A file that gives none is told with its reason; the others go on.
Workers write to a hidden folder, side by side; a thumbnail is renamed to its place, so it is there
whole or not at all.

The thread that takes the results is one, beside many that hold the GIL by turns, and has to wait
for it after each system call: so there are as few as can be for each picture.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import operator
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.errors import ImageError, OutputError, UsageError
from crawler.mapping import starmap
from crawler.publish import replacing
from crawler.thumbnail_list import LIST, ThumbnailList
from crawler.thumbnail_rule import ThumbnailRule
from crawler.turns import Turns

_LONGEST_NAME = 255
"""Bytes, on nearly all file systems."""
_STAGING = ".thumbnails.new"
_MOST_IN_A_CHUNK = 8
"""Files that a worker is given at a time. Handed out one by one, small pictures cost 4 % more."""
_MOST_AT_ONCE = 64
_LONGEST_HELD = 0.1
"""Seconds. So many thumbnails, or those of that time, come to the list and their places at once."""
_turns = Turns(longest=0.1, at_once=os.cpu_count() or 1)
"""More threads than cores would only take the GIL from each other: for small pictures, eight of
them on two cores took a fifth longer than with turns. On a slow disk there is time for more."""
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
        workers = workers or os.cpu_count() or 1
        with (
            ThumbnailList(out) as listed,
            _empty_folder(out / _STAGING) as staging,
            starmap(
                _make,
                _Calls(files, rule, staging),
                mode=mode,
                workers=workers,
                on_error="return",
                progress=progress,
                chunksize=min(_MOST_IN_A_CHUNK, 1 + len(files) // (16 * workers)),
            ) as results,
        ):
            keeper = _Keeper(out, listed)
            until = time.monotonic() + _LONGEST_HELD
            for result in results:
                keeper.judge(files.pulled.popleft(), result)
                if len(keeper.judged) >= _MOST_AT_ONCE or time.monotonic() >= until:
                    yield from keeper.keep()
                    until = time.monotonic() + _LONGEST_HELD
            yield from keeper.keep()
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
    source: str = ""
    """The same, as seen from the folder of thumbnails."""
    place: str = ""
    """The folder of its thumbnail in there: `2019/`."""
    taken: Set[str] = frozenset()
    """The names in its own folder, in small letters."""
    is_file: bool = False
    error: OSError | None = None
    """Why a folder couldn't be read."""

    def thumbnail(self, kind: str) -> str:
        """What its thumbnail in a format is called: `2019/a.jpg`."""
        return self.place + _name(self.path.name, kind, self.taken)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is in a folder, but for what is hidden."""

    files: list[os.DirEntry[str]]
    """By name."""
    taken: Set[str]
    """The names of all, in small letters."""


class _Files:
    """The files below a folder in order: those of a folder by name, then its folders by name."""

    def __init__(self, folder: Path, out: Path) -> None:
        self._folder = folder
        self._out = out
        self._out_stat = out.stat()
        self.pulled: deque[_File] = deque()
        """Those that were handed out; whoever has done with them takes them from here."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[_File]:
        for folder, place, found in self._folders():
            source = os.path.relpath(folder, self._out)
            if isinstance(found, OSError):
                file = _File(folder, source, error=found)
                self.pulled.append(file)
                yield file
                continue
            for entry in found.files:
                path = folder / entry.name
                seen = os.path.join(source, entry.name)
                file = _File(path, seen, place, found.taken, _is_file(entry))
                self.pulled.append(file)
                yield file

    @functools.cached_property
    def _count(self) -> int:
        found = (each for _, _, each in self._folders())
        return sum(1 if isinstance(each, OSError) else len(each.files) for each in found)

    def _folders(self) -> Iterator[tuple[Path, str, _Found | OSError]]:
        """Each with the place of its thumbnails; what is found there, or why it can't be read."""
        left = [(self._folder, "")]
        while left:
            folder, place = left.pop()
            try:
                with os.scandir(folder) as scan:
                    entries = [entry for entry in scan if not entry.name.startswith(".")]
            except OSError as error:
                yield folder, place, error
                continue
            entries.sort(key=operator.attrgetter("name"))
            files = [entry for entry in entries if not _is_folder(entry)]
            yield folder, place, _Found(files, frozenset(e.name.casefold() for e in entries))
            inner = [e for e in entries if _is_folder(e) and not e.is_symlink()]
            paths = [(folder / e.name, f"{place}{e.name}/") for e in inner]
            left += reversed([each for each in paths if not self._is_out(each[0])])

    def _is_out(self, folder: Path) -> bool:
        try:
            return os.path.samestat(folder.stat(), self._out_stat)
        except OSError:
            return False  # it has just gone; to read it will tell


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Also what can't be known, and will be told when it is opened."""
    try:
        return entry.is_file() or not os.path.exists(entry.path)
    except OSError:
        return True


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
            staged = os.path.join(self._staging, str(number))
            yield file.path, file.is_file, file.error, self._rule, staged


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

    path: str
    format: str
    width: int
    height: int
    sha256: str


def _make(
    path: Path, is_file: bool, error: OSError | None, rule: ThumbnailRule, staged: str
) -> _Staged:
    from crawler.thumbnails import make_thumbnail

    if error is not None:
        raise error
    if not is_file:  # to open a pipe would wait for its writer
        raise ImageError("no-image", "this is no file")
    with _turns.turn():
        made = make_thumbnail(path, rule)
        try:
            Path(staged).write_bytes(made.data)
        except OSError as problem:
            raise OutputError(f"can't write {staged}: {problem.strerror or problem}") from None
        return _Staged(staged, made.format, made.width, made.height, _hash(made.data))


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is to be done about a file."""

    made: Made
    record: dict[str, Any]
    """Its line for the list."""
    staged: str | None = None
    """What has to leave the hidden folder,"""
    target: str | None = None
    """and for where; None if it isn't wanted."""


class _Keeper:
    """Brings thumbnails to their places, a batch at a time; on the list they are before that."""

    def __init__(self, out: Path, listed: ThumbnailList) -> None:
        self._out = os.fspath(out)
        self._listed = listed
        self._free_folder = ""
        """The last one in whose way nothing was; most thumbnails have that of their neighbour."""
        self._made_folder = ""
        """The last one that a thumbnail came to."""
        self.judged: list[_Judged] = []

    def judge(self, file: _File, result: _Staged | Exception) -> None:
        """Add a file to the batch."""
        if isinstance(result, OutputError):
            raise result
        if isinstance(result, Exception):
            kind, message = _problem(result)
            told = {"source": file.source, "kind": kind, "message": message}
            self.judged.append(_Judged(Made(file.path, problem=message), told))
            return
        name = file.thumbnail(result.format)
        target = os.path.join(self._out, name)
        is_there, in_the_way = self._look(target, name, file.source, result)
        if in_the_way is not None:
            told = {"source": file.source, "kind": "exists", "message": in_the_way}
            self.judged.append(_Judged(Made(file.path, problem=in_the_way), told, result.path))
            return
        record = {
            "source": file.source,
            "thumbnail": name,
            "width": result.width,
            "height": result.height,
            "sha256": result.sha256,
        }
        made = Made(file.path, Path(target))
        self.judged.append(_Judged(made, record, result.path, None if is_there else target))

    def keep(self) -> list[Made]:
        """Have done with the batch."""
        batch, self.judged = self.judged, []
        self._listed.add(each.record for each in batch)
        for each in batch:
            if each.target is not None and each.staged is not None:
                self._place(each.staged, each.target)
            elif each.staged is not None:
                os.unlink(each.staged)
        return [each.made for each in batch]

    def _place(self, staged: str, target: str) -> None:
        folder = os.path.dirname(target)
        if folder != self._made_folder:
            os.makedirs(folder, exist_ok=True)
            self._made_folder = folder
        try:
            os.replace(staged, target)
        except OSError as error:
            if error.errno != errno.EXDEV:  # a folder of the thumbnails lies on another disk
                raise
            with replacing(Path(target)) as stream:
                stream.write(Path(staged).read_bytes())
            os.unlink(staged)

    def _look(
        self, target: str, name: str, source: str, staged: _Staged
    ) -> tuple[bool, str | None]:
        """Whether it is there already, and what keeps it from being written, in words."""
        base = os.path.basename(target)
        if len(os.fsencode(base)) > _LONGEST_NAME:
            return False, f"the name of its thumbnail would be too long: {base}"
        folder = os.path.dirname(target)
        if folder != self._free_folder:
            if name.casefold().startswith(f"{LIST}/"):
                return False, f"a folder {LIST} would be in the way of the list: rename it"
            nearest = next(each for each in Path(target).parents if os.path.lexists(each))
            if not nearest.is_dir():
                return False, f"{nearest} is in the way of its thumbnail: move it away"
            self._free_folder = folder
        if not os.path.lexists(target):
            return False, None
        if os.path.isfile(target) and not os.path.islink(target):
            old = Path(target).read_bytes()
            digest = _hash(old)
            if digest == staged.sha256:
                return True, None
            if self._listed.owns(name, source, digest):
                return False, None
            if Path(staged.path).read_bytes().startswith(old):
                return False, None  # what a power cut left of it; most often nothing
        return False, f"{target} exists, and is no thumbnail of it: move it away"


def _problem(error: Exception) -> tuple[str, str]:
    if isinstance(error, ImageError):
        return error.kind, error.message
    if isinstance(error, OSError):
        return "unreadable", f"it can't be read: {error.strerror or error}"
    return "failed", f"{type(error).__name__}: {error}"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
