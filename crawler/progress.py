"""Counters in shared memory: what a run is doing, for anyone on this machine to read.

     one block per run
    ┌────────┬────────┬────────┬────────┬─
    │ header │ engine │ seat 0 │ seat 1 │ ...
    └────────┴────────┴────────┴────────┴─
     - header: whose block it is; written once, when the block is created
     - engine: the run's totals; written by the engine only
     - seat: what one worker thread has done and is doing; written by that thread only. A process
       that replaces a dead one takes over its seats and goes on counting.

Nothing is locked: every counter is an aligned 64-bit word with one writer, stored whole, so a
reader never sees half a number. What a seat is doing is longer than a word. It is written with its
checksum, and read again when the two don't fit; unlike a sequence number, that doesn't rely on the
processor making stores visible in order, which ARM doesn't promise.

The owner's `close` removes the block. If the owner is killed, `remove_stale` does at the next
start.
"""

from __future__ import annotations

import atexit
import os
import re
import struct
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, fields
from enum import IntEnum
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from crawler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

T = TypeVar("T")

_MAGIC = int.from_bytes(b"in order", "little")
_VERSION = 1

# The header: magic, version, the owner's pid and start time, seats, seats per worker, started at
# (wall clock and monotonic, both ns). The first four stay where they are in every version, so that
# any version can tell whether a block is stale.
_HEADER = struct.Struct("=8q")

# What a seat is doing: state, since (monotonic ns), URL in UTF-8, cut or padded with NULs.
_URL_BYTES = 200
_ACTIVITY = struct.Struct(f"=2q{_URL_BYTES}s")
_CHECKED_ACTIVITY = struct.Struct(f"={_ACTIVITY.size}sq")

# Sizes and places in words. Whole cache lines (8 words), so that writers don't slow each other.
_WORD = 8
_HEADER_WORDS = 8
_ENGINE_WORDS = 16
_SEAT_WORDS = 32
_PAGES, _ITEMS, _BYTES, _FAILED = range(4)
_ACTIVITY_AT = 4 * _WORD

_SHM = Path("/dev/shm")  # noqa: S108 - where Linux shows its shared memory
_NAME_LENGTH = 30  # macOS: 31 with the leading slash


class RunState(IntEnum):
    """How far a run is."""

    RUNNING = 0
    FINISHED = 1
    STOPPED = 2  # interrupted or at a limit; can be resumed
    FAILED = 3  # ended by an error


class SeatState(IntEnum):
    """What a worker thread is doing."""

    IDLE = 0
    FETCHING = 1
    SPIDER = 2


@dataclass(frozen=True, slots=True)
class Totals:
    """The engine's counters. The order of the fields is their order in the block."""

    state: RunState = RunState.RUNNING
    known: int = -1
    """Pages known so far, done ones included; -1 as long as that says nothing."""
    done: int = 0
    """Pages committed."""
    items: int = 0
    """Items committed."""
    failures: int = 0
    """Pages given up."""
    retries: int = 0
    in_flight: int = 0
    """Requests on workers."""
    held: int = 0
    """Results that wait for an earlier rank."""
    waiting: int = 0
    """Requests that wait for a retry's due time or a host's delay."""
    deaths: int = 0
    """Workers that died and were replaced."""


_PLACES = {field.name: place for place, field in enumerate(fields(Totals))}


@dataclass(frozen=True, slots=True)
class Seat:
    """One worker thread at the time of reading."""

    label: str
    """`3`, or `2.1` for the first thread of the second process."""
    pages: int
    items: int
    bytes: int
    failed: int
    """Attempts that failed."""
    state: SeatState
    seconds: float
    """How long it has been in this state."""
    url: str
    """What it works on, cut to 200 bytes."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole block at the time of reading."""

    name: str
    pid: int
    """The process that runs the crawl."""
    started: float
    """Seconds since the epoch."""
    elapsed: float
    """Seconds since the start."""
    totals: Totals
    seats: tuple[Seat, ...]

    @property
    def done(self) -> int:
        """Pages committed."""
        return self.totals.done

    @property
    def total(self) -> int | None:
        """Pages known so far, or None as long as that says nothing."""
        return self.totals.known if self.totals.known >= 0 else None

    @property
    def arrived(self) -> int:
        """Pages committed or held: a slow page makes commits come in bursts, but not results."""
        return self.totals.done + self.totals.held

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.totals.state is not RunState.RUNNING


class EngineSlot:
    """The engine's part of a block."""

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def update(self, **counters: int) -> None:
        """Set some of the `Totals` by name; the others keep their values."""
        for name, value in counters.items():
            self._words[_PLACES[name]] = value

    def detach(self) -> None:
        """Let go of the block; what is written from now on goes nowhere."""
        self._words = _detached(self._words)


class SeatSlot:
    """A worker thread's part of a block. Whoever makes one takes the seat: it becomes idle."""

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self.idle()

    def fetching(self, url: str) -> None:
        """A request goes out."""
        self._url = url[:_URL_BYTES].encode("utf-8", "replace")
        self._enter(SeatState.FETCHING)

    def parsing(self) -> None:
        """The page is there, the spider begins."""
        self._enter(SeatState.SPIDER)

    def done(self, *, items: int, body_bytes: int, failed: bool) -> None:
        """The page is finished; the seat is idle."""
        words = self._words
        words[_FAILED if failed else _PAGES] += 1
        words[_ITEMS] += items
        words[_BYTES] += body_bytes
        self.idle()

    def detach(self) -> None:
        """Let go of the block: a thread that was given up may still write, and it goes nowhere."""
        self._words = _detached(self._words)

    def idle(self) -> None:
        """Nothing to do; what was done was no page."""
        self._url = b""
        self._enter(SeatState.IDLE)

    def _enter(self, state: SeatState) -> None:
        activity = _ACTIVITY.pack(state, time.monotonic_ns(), self._url)
        _CHECKED_ACTIVITY.pack_into(self._words, _ACTIVITY_AT, activity, zlib.crc32(activity))


class Block:
    """A run's counters: made by its owner with `create`, by everyone else with `attach`.

    Sent to another process of this machine, it attaches there.
    """

    def __init__(self, memory: SharedMemory, *, created: bool) -> None:
        self._memory = memory
        self._creator = os.getpid() if created else None
        self._words = _buffer(memory).cast("q")
        _, _, *owner, seats, per_worker, wall, monotonic = _HEADER.unpack_from(self._words)
        self.pid, self._start_time = owner
        self._seats, self._per_worker = range(seats), per_worker
        self._wall, self._monotonic = wall, monotonic
        self.engine = EngineSlot(self._part(_HEADER_WORDS, _ENGINE_WORDS))
        self._slots: list[EngineSlot | SeatSlot] = [self.engine]
        # Shared memory complains at interpreter exit when views of it are left.
        atexit.register(self.close)

    @classmethod
    def create(cls, name: str, *, seats: int, seats_per_worker: int = 1) -> Self:
        """A new block, owned by this process, for `seats` worker threads in all.

        Raises UsageError if there is no room for it.
        """
        memory = _new_memory(name, _size(seats))
        owner = os.getpid(), _start_time(os.getpid())
        started = time.time_ns(), time.monotonic_ns()
        header = 0, _VERSION, *owner, seats, seats_per_worker, *started
        _HEADER.pack_into(_buffer(memory), 0, *header)
        block = cls(memory, created=True)
        block.engine.update(known=-1)
        for index in range(seats):
            block.seat(index)
        block._words[0] = _MAGIC  # last: no one takes a half-made block for a whole one
        return block

    @classmethod
    def attach(cls, name: str) -> Self:
        """The block of that name, from any process: a worker of the run or a mere onlooker.

        Raises UsageError if there is none, or none that can be read here.
        """
        try:
            memory = _untracked(name, lambda: SharedMemory(name))
        except FileNotFoundError:
            raise UsageError(f"no crawl is running under the name {name!r}") from None
        except PermissionError:
            raise UsageError(f"the crawl {name!r} belongs to another user") from None
        except (OSError, ValueError) as error:  # no name for a segment, or an empty one
            raise UsageError(f"{name!r} is not the progress of a crawl: {error}") from None
        problem = _unreadable(_buffer(memory))
        if problem:
            memory.close()
            raise UsageError(f"{name!r} {problem}")
        return cls(memory, created=False)

    @property
    def name(self) -> str:
        """What others attach by."""
        return self._memory.name

    def seat(self, index: int) -> SeatSlot:
        """Take a seat, to be written by the calling worker thread only."""
        slot = SeatSlot(self._part(*self._place(index)))
        self._slots.append(slot)
        return slot

    def read(self) -> Snapshot:
        """What stands in the block now."""
        now = time.monotonic_ns()
        state, *counters = self._part(_HEADER_WORDS, len(_PLACES))
        return Snapshot(
            name=self.name,
            pid=self.pid,
            started=self._wall / 1e9,
            elapsed=(now - self._monotonic) / 1e9,
            totals=Totals(RunState(state), *counters),
            seats=tuple(self._read_seat(index, now) for index in self._seats),
        )

    def owner_alive(self) -> bool:
        """Whether the process that runs the crawl is still there."""
        return _alive(self.pid, self._start_time)

    def close(self) -> None:
        """Let go of the block, which no thread may be reading now; the owner also removes it."""
        atexit.unregister(self.close)
        if self._slots and self._owned() and not self.read().over:
            self.engine.update(state=RunState.FAILED)  # an onlooker would wait for the end
        for slot in self._slots:
            slot.detach()
        self._slots.clear()
        self._words.release()
        self._memory.close()
        if self._owned():
            self._creator = None
            with suppress(OSError):  # what is left over, `remove_stale` takes care of
                _untracked(self.name, self._memory.unlink)

    def __reduce__(self) -> tuple[Callable[[str], Block], tuple[str]]:
        return Block.attach, (self.name,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _owned(self) -> bool:
        return self._creator == os.getpid()  # a fork of the owner owns nothing

    def _part(self, start: int, length: int) -> memoryview:
        return self._words[start : start + length]

    def _place(self, index: int) -> tuple[int, int]:
        start = _HEADER_WORDS + _ENGINE_WORDS + self._seats[index] * _SEAT_WORDS
        return start, _SEAT_WORDS

    def _read_seat(self, index: int, now: int) -> Seat:
        words = self._part(*self._place(index))
        state, since, url = _read_activity(words)
        worker, thread = divmod(index, self._per_worker)
        return Seat(
            label=f"{worker + 1}.{thread + 1}" if self._per_worker > 1 else f"{worker + 1}",
            pages=words[_PAGES],
            items=words[_ITEMS],
            bytes=words[_BYTES],
            failed=words[_FAILED],
            state=SeatState(state),
            seconds=max(0, now - since) / 1e9,
            url=url.rstrip(b"\0").decode("utf-8", "ignore"),  # the cut may go through a character
        )


def block_name(run_id: str) -> str:
    """The name of this process's block for a run: `crawl-<pid>-<run id>`.

    A run id that is too long for macOS or can't stand in a name gives way to its checksum.
    """
    prefix = f"crawl-{os.getpid()}-"
    room = _NAME_LENGTH - len(prefix)
    if re.fullmatch(rf"[\w.-]{{1,{room}}}", run_id, re.ASCII):
        return prefix + run_id
    return f"{prefix}{zlib.crc32(run_id.encode()):08x}"


def running() -> list[str]:
    """The names of this user's blocks whose owners live; on Linux only, others can't list them."""
    return [path.name for path, alive in _blocks() if alive]


def remove_stale() -> list[str]:
    """Remove this user's blocks whose owners are dead, and return their names; on Linux only."""
    stale = [path for path, alive in _blocks() if not alive]
    for path in stale:
        with suppress(OSError):  # removed meanwhile, or read-only: it is in nobody's way
            path.unlink()
    return [path.name for path in stale]


def _blocks() -> Iterator[tuple[Path, bool]]:
    """This user's blocks, and whether their owners live."""
    for path in sorted(_SHM.glob("crawl-*")):
        with suppress(FileNotFoundError):  # its owner may end meanwhile
            if path.lstat().st_uid == os.geteuid():
                header = path.read_bytes()[: _HEADER.size].ljust(_HEADER.size, b"\0")
                magic, _, pid, start_time, *_ = _HEADER.unpack(header)
                if magic == _MAGIC:
                    yield path, _alive(pid, start_time)
                elif not any(header) and not _alive(_pid_in(path.name), 0):
                    yield path, False  # its owner died before it was filled in


def _new_memory(name: str, size: int) -> SharedMemory:
    try:
        memory = _untracked(name, lambda: SharedMemory(name, create=True, size=size))
    except OSError as error:
        raise _no_room(size, error) from None
    try:
        # Linux finds room for a page when it is first written to, and if there is none, kills us.
        with suppress(FileNotFoundError), (_SHM / name).open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        memory.close()
        _untracked(name, memory.unlink)
        raise _no_room(size, error) from None
    return memory


def _no_room(size: int, error: OSError) -> UsageError:
    return UsageError(
        f"there is no shared memory ({_SHM}) for the progress of a crawl, {size} bytes: "
        f"{error.strerror or error}"
    )


def _buffer(memory: SharedMemory) -> memoryview:
    return cast("memoryview", memory.buf)  # None only once it is closed


def _size(seats: int) -> int:
    return (_HEADER_WORDS + _ENGINE_WORDS + seats * _SEAT_WORDS) * _WORD


def _untracked(name: str, action: Callable[[], T]) -> T:
    """Make, map or remove a block without multiprocessing's resource tracker knowing of it.

    The tracker removes what it knows of when its process ends: a block of which it knows because an
    onlooker attached would be gone with the onlooker. It complains of what a killed owner left
    although `remove_stale` takes care of that, and, killed itself, of what it then doesn't know.
    """
    register, unregister = resource_tracker.register, resource_tracker.unregister
    tracked_as = f"/{name}"

    def register_others(name: Any, rtype: str) -> None:
        if name != tracked_as:
            register(name, rtype)

    def unregister_others(name: Any, rtype: str) -> None:
        if name != tracked_as:
            unregister(name, rtype)

    resource_tracker.register = register_others
    resource_tracker.unregister = unregister_others
    try:
        return action()
    finally:
        resource_tracker.register, resource_tracker.unregister = register, unregister


def _unreadable(buffer: memoryview) -> str | None:
    """Why this is not a block that can be read here, if so."""
    if len(buffer) < _HEADER.size:
        return "is not the progress of a crawl"
    magic, version, _, _, seats, *_ = _HEADER.unpack_from(buffer)
    if magic != _MAGIC:
        return "is not the progress of a crawl"
    if version != _VERSION:
        return (
            f"has layout {version} and this is a version for layout {_VERSION}: "
            "use the version of crawl-in-order that runs the crawl"
        )
    if len(buffer) < _size(seats):
        return "is cut short"
    return None


def _read_activity(words: memoryview) -> tuple[int, int, bytes]:
    """State, since and URL as they stood together at one time."""
    for _ in range(100):
        activity, checksum = _CHECKED_ACTIVITY.unpack_from(words, _ACTIVITY_AT)
        if zlib.crc32(activity) == checksum:
            state, since, url = _ACTIVITY.unpack(activity)
            return state, since, url
    return SeatState.IDLE, time.monotonic_ns(), b""  # its writer died while writing


def _detached(words: memoryview) -> memoryview:
    """Memory to write to in place of `words`, which is released."""
    elsewhere = memoryview(bytearray(words.nbytes)).cast("q")
    words.release()
    return elsewhere


def _alive(pid: int, start_time: int) -> bool:
    """Whether a process lives and is the one that started then, not one with its number."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass  # it runs under another user's name
    except ProcessLookupError:
        return False
    return not start_time or _start_time(pid) in (start_time, 0)


def _pid_in(name: str) -> int:
    """The owner's pid in a block's name."""
    number = name.split("-")[1]
    return int(number) if number.isdigit() else 0


def _start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; -1 if it is dead, 0 if no one says."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0  # not Linux, or /proc hides the processes of others
    # proc(5): after the name, which may hold anything, come the state (3rd) ... start time (22nd).
    state, *rest = stat.rpartition(b")")[2].split()
    return -1 if state in (b"Z", b"X") else int(rest[18])
