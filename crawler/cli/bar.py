"""A run's progress on stderr: a bar on a terminal, else a line now and then.

A daemon thread reads the run's block and draws, so that the crawl neither waits for a slow
terminal nor pays per page.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from crawler.progress import Block, Snapshot

Kind = Literal["auto", "bar", "plain", "none"]

_LONGEST_BAR = 40


class Pace:
    """How fast pages come in: over the last `window` seconds, or over all once the run is over."""

    def __init__(self, window: float = 10.0) -> None:
        self._window = window
        self._first: tuple[float, int] | None = None
        self._recent: deque[tuple[float, int]] = deque()

    def rate(self, snapshot: Snapshot) -> float | None:
        """Pages per second up to this snapshot; None while it is too early to tell."""
        # With the held ones: a slow page makes commits come in bursts, but not results.
        now, pages = snapshot.elapsed, snapshot.totals.done + snapshot.totals.held
        self._first = self._first or (now, pages)
        self._recent.append((now, pages))
        while len(self._recent) > 2 and self._recent[1][0] <= now - self._window:
            self._recent.popleft()
        then, pages_then = self._first if snapshot.over else self._recent[0]
        shortest = 0.001 if snapshot.over else 1.0
        return max(0, pages - pages_then) / (now - then) if now - then >= shortest else None


def sentence(snapshot: Snapshot, rate: float | None) -> str:
    """Where a run is: `12/40 pages, 300 items, 1 failed, 3.2 pages/s, 9 s left`."""
    totals = snapshot.totals
    parts = [
        f"{totals.done}/{totals.known} pages" if totals.known >= 0 else plural(totals.done, "page"),
        plural(totals.items, "item"),
    ]
    if totals.failures:
        parts.append(f"{totals.failures} failed")
    if totals.retries:
        parts.append(plural(totals.retries, "retry", "retries"))
    if rate is not None:
        parts.append(f"{rate:.1f} pages/s")
    left = totals.known - totals.done - totals.held
    if snapshot.over:
        parts.append(f"in {duration(snapshot.elapsed)}")
    elif rate and left > 0:
        parts.append(f"{duration(math.ceil(left / rate))} left")
    return ", ".join(parts)


def plural(count: int, one: str, many: str = "") -> str:
    """`1 page`, `2 pages`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """`9 s`, `3 min 20 s`, `2 h 5 min`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def size(count: float) -> str:
    """`640 B`, `1.2 MB`: powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def drawable(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def line(snapshot: Snapshot, rate: float | None, width: int) -> RenderableType:
    """A bar and the sentence on one line; the sentence alone where there is no room for both."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    width -= len("^C ")  # the echo of Ctrl-C must not make the terminal wrap
    text = Text(sentence(snapshot, rate))
    text.truncate(width, overflow="ellipsis")
    room = min(_LONGEST_BAR, width - len(text) - 1) // 10 * 10  # in steps, or it would tremble
    if room <= 0:
        return text
    totals = snapshot.totals
    total = totals.done if snapshot.over and totals.known < 0 else totals.known
    # Without a total, the bar only shows that the run is alive.
    bar = ProgressBar(total=total if total >= 0 else None, completed=totals.done, width=room)
    both = Table.grid(padding=(0, 1))
    both.add_row(bar, text)
    return both


class _Painter:
    """Shows nothing; the others do more."""

    period = threading.TIMEOUT_MAX
    """Seconds from one painting to the next."""

    def start(self) -> None:
        """Take the stream."""

    def paint(self, snapshot: Snapshot, rate: float | None) -> None:
        """Show where the run is."""

    def stop(self, *, erase: bool) -> None:
        """Give the stream back, with or without the last painting on it."""


class _Lines(_Painter):
    """A plain line every `interval` seconds, and one at the end of a run longer than that."""

    def __init__(self, stream: TextIO, interval: float) -> None:
        self.period = interval
        self._stream = stream

    def paint(self, snapshot: Snapshot, rate: float | None) -> None:
        if snapshot.elapsed >= self.period:
            self._stream.write(sentence(snapshot, rate) + "\n")
            self._stream.flush()


class _Bar(_Painter):
    """A bar at the bottom of the terminal; what is printed meanwhile goes above it."""

    period = 0.1

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        # soft_wrap: the terminal wraps long lines, so that they are copied in one piece.
        self._console = Console(
            file=stream, markup=False, emoji=False, highlight=False, soft_wrap=True
        )

    def start(self) -> None:
        from rich.live import Live

        printed = sys.stdout, sys.stderr
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),  # not if it is a file: there go the data
            redirect_stderr=sys.stderr.isatty(),
        )
        self._live.start()
        pairs = zip(printed, (sys.stdout, sys.stderr), strict=True)
        self._redirected = [(stream, proxy) for stream, proxy in pairs if stream is not proxy]
        for stream, proxy in self._redirected:
            _move_log_handlers(stream, proxy)

    def paint(self, snapshot: Snapshot, rate: float | None) -> None:
        self._live.update(line(snapshot, rate, self._console.width), refresh=True)

    def stop(self, *, erase: bool) -> None:
        for stream, proxy in self._redirected:
            proxy.flush()  # it may hold the start of a line
            _move_log_handlers(proxy, stream)
        self._live.transient = erase
        self._live.stop()


class Display:
    """A run being shown, by a thread of its own."""

    def __init__(self, block: Block, painter: _Painter) -> None:
        self._block = block
        self._painter = painter
        self._pace = Pace()
        self._painting = threading.Lock()
        self._paused = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)
        self._painter.start()
        self._paint()  # the pace is counted from here
        self._thread.start()

    def pause(self) -> None:
        """Leave the terminal to others, such as a debugger, until `resume`."""
        with self._painting:
            if not self._paused:
                self._paused = True
                self._painter.stop(erase=True)

    def resume(self) -> None:
        """Show again what the run does."""
        with self._painting:
            if self._paused:
                self._paused = False
                self._painter.start()

    def close(self) -> None:
        """Show how the run ended."""
        self._over.set()
        try:
            self._thread.join()
            if not self._paused:
                self._paint()
        finally:
            if not self._paused:
                with suppress(OSError):
                    self._painter.stop(erase=False)

    def _run(self) -> None:
        while not self._over.wait(self._painter.period):
            with self._painting:
                if not self._paused:
                    self._paint()

    def _paint(self) -> None:
        snapshot = self._block.read()
        with suppress(OSError):  # the terminal is gone; the crawl goes on
            self._painter.paint(snapshot, self._pace.rate(snapshot))


@contextmanager
def display(
    block: Block, kind: Kind = "auto", stream: TextIO | None = None, *, interval: float = 10.0
) -> Iterator[Display]:
    """Show a run while the context lasts; the block has to stay open for as long.

    The end of the run is shown as such if its state is set before the context ends.

    "bar" is for terminals, "plain" writes a line every `interval` seconds, and "auto" takes the
    bar if `stream` (stderr unless given) is a terminal.
    """
    shown = Display(block, _painter(kind, stream or sys.stderr, interval))
    try:
        yield shown
    finally:
        shown.close()


def _painter(kind: Kind, stream: TextIO, interval: float) -> _Painter:
    if kind == "none":
        return _Painter()
    if kind == "bar" or (kind == "auto" and drawable(stream)):
        return _Bar(stream)
    return _Lines(stream, interval)


def _move_log_handlers(old: TextIO, new: TextIO) -> None:
    """Make log handlers that hold one stream write to another."""
    for logger in (logging.getLogger(), logging.getLogger("crawler")):
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is old:
                handler.setStream(new)
