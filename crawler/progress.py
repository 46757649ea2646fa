"""Counters in shared memory: what a run is doing, for anyone on this machine to read.

     one block per run
    ┌────────┬────────┬────────┬────────┬─
    │ header │ engine │ seat 0 │ seat 1 │ ...
    └────────┴────────┴────────┴────────┴─
     - header: how many seats, since when; written once, when the block is created
     - engine: the run's totals; written by the engine only
     - seat: what one worker thread has done and is doing; written by that thread only. A process
       that replaces a dead one takes over its seats and goes on counting.

Nothing is locked: every counter is an aligned 64-bit word with one writer, stored whole, so a
reader never sees half a number. What a seat is doing is longer than a word. It is written with its
checksum, and read again when the two don't fit; unlike a sequence number, that doesn't rely on the
processor making stores visible in order, which ARM doesn't promise.

The block is one of `crawler.shared`, which says how it is removed.
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
from typing import TYPE_CHECKING, Self

from crawler import shared
from crawler.errors import UsageError
from crawler.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_MAGIC = int.from_bytes(b"progress", "little")
_VERSION = 2

# The header: magic, version, seats, seats per worker, started at (wall clock and monotonic, ns).
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

    def __init__(self, memory: Shared) -> None:
        self._memory = memory
        self.name, self.pid = memory.name, memory.pid
        self._words = memory.buffer.cast("q")
        _, _, seats, per_worker, wall, monotonic, *_ = _HEADER.unpack_from(self._words)
        self._seats, self._per_worker = range(seats), per_worker
        self._wall, self._monotonic = wall, monotonic
        self.engine = EngineSlot(self._part(_HEADER_WORDS, _ENGINE_WORDS))
        self._slots: list[EngineSlot | SeatSlot] = [self.engine]
        if memory.is_mine():
            atexit.register(self.close)

    @classmethod
    def create(cls, name: str, *, seats: int, seats_per_worker: int = 1) -> Self:
        """A new block, owned by this process, for `seats` worker threads in all.

        Raises UsageError if there is no room for it.
        """
        memory = shared.create(name, _size(seats))
        started = time.time_ns(), time.monotonic_ns()
        _HEADER.pack_into(memory.buffer, 0, 0, _VERSION, seats, seats_per_worker, *started, 0, 0)
        block = cls(memory)
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
            memory = shared.attach(name, also_ended=True)
        except UsageError as error:
            raise UsageError(f"no crawl is running under the name {name!r}: {error}") from None
        problem = _unreadable(memory.buffer)
        if problem:
            memory.close()
            raise UsageError(f"{name!r} {problem}")
        return cls(memory)

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
        return self._memory.owner_alive()

    def close(self) -> None:
        """Let go of the block, which no thread may be reading now; the owner also removes it."""
        atexit.unregister(self.close)
        if self._slots and self._memory.is_mine() and not self.read().over:
            self.engine.update(state=RunState.FAILED)  # an onlooker would wait for the end
        for slot in self._slots:
            slot.detach()
        self._slots.clear()
        self._words.release()
        self._memory.close()

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
    """The names of this user's runs that are at work; on Linux only, others can't list them."""
    return [name for name in shared.living() if _is_progress(name)]


def _is_progress(name: str) -> bool:
    with suppress(UsageError), Block.attach(name):
        return True
    return False


def _size(seats: int) -> int:
    return (_HEADER_WORDS + _ENGINE_WORDS + seats * _SEAT_WORDS) * _WORD


def _unreadable(buffer: memoryview) -> str | None:
    """Why this is not a block that can be read here, if so."""
    if len(buffer) < _HEADER.size:
        return "is not the progress of a crawl"
    magic, version, seats, *_ = _HEADER.unpack_from(buffer)
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
