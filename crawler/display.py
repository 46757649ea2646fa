"""How far some work is, on stderr: a bar on a terminal, else a line now and then.

A daemon thread looks and draws, so that the work neither waits for a slow terminal nor pays for
each step.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TextIO, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

Kind = Literal["auto", "bar", "plain", "none"]

INTERVAL = 10.0
"""Seconds from one plain line to the next."""
_LONGEST_BAR = 40


class Standing(Protocol):
    """How far the work was at the time of looking."""

    @property
    def done(self) -> int:
        """Steps that are done."""
        ...

    @property
    def total(self) -> int | None:
        """Steps that there are, or None if nobody knows."""
        ...

    @property
    def arrived(self) -> int:
        """Steps that the pace counts; those that wait for an earlier one may be among them."""
        ...

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        ...

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        ...


S = TypeVar("S", bound=Standing)


class Pace:
    """How fast steps are done: over the last `window` seconds, or over all once it is over."""

    def __init__(self, window: float = 10.0) -> None:
        self._window = window
        self._first: tuple[float, int] | None = None
        self._recent: deque[tuple[float, int]] = deque()

    def rate(self, standing: Standing) -> float | None:
        """Steps per second up to now; None while it is too early to tell."""
        now, steps = standing.elapsed, standing.arrived
        self._first = self._first or (now, steps)
        self._recent.append((now, steps))
        while len(self._recent) > 2 and self._recent[1][0] <= now - self._window:
            self._recent.popleft()
        then, steps_then = self._first if standing.over else self._recent[0]
        shortest = 0.001 if standing.over else 1.0
        return max(0, steps - steps_then) / (now - then) if now - then >= shortest else None


def drawable(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def bar(standing: Standing, sentence: str, width: int) -> RenderableType:
    """A bar and the sentence on one line; the sentence alone where there is no room for both."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    width -= len("^C ")  # the echo of Ctrl-C must not make the terminal wrap
    text = Text(sentence)
    text.truncate(width, overflow="ellipsis")
    room = min(_LONGEST_BAR, width - len(text) - 1) // 10 * 10  # in steps, or it would tremble
    if room <= 0:
        return text
    # Without a total, the bar only shows that there is life.
    total = standing.done if standing.over and standing.total is None else standing.total
    both = Table.grid(padding=(0, 1))
    both.add_row(ProgressBar(total=total, completed=standing.done, width=room), text)
    return both


class _Painter:
    """Shows nothing; the others do more."""

    period = threading.TIMEOUT_MAX
    """Seconds from one painting to the next."""

    def start(self) -> None:
        """Take the stream."""

    def paint(self, standing: Standing, sentence: str) -> None:
        """Show how far it is."""

    def stop(self, *, erase: bool) -> None:
        """Give the stream back, with or without the last painting on it."""


class _Lines(_Painter):
    """A plain line every `interval` seconds, and one at the end of what took longer than that."""

    def __init__(self, stream: TextIO, interval: float) -> None:
        self.period = interval
        self._stream = stream

    def paint(self, standing: Standing, sentence: str) -> None:
        if standing.elapsed >= self.period:
            self._stream.write(sentence + "\n")
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

    def paint(self, standing: Standing, sentence: str) -> None:
        self._live.update(bar(standing, sentence, self._console.width), refresh=True)

    def stop(self, *, erase: bool) -> None:
        for stream, proxy in self._redirected:
            proxy.flush()  # it may hold the start of a line
            _move_log_handlers(proxy, stream)
        self._live.transient = erase
        self._live.stop()


class Display(Generic[S]):
    """Some work being shown, by a thread of its own, until `close`.

    "bar" is for terminals, "plain" writes a line every `interval` seconds, and "auto" takes the
    bar if `stream` (stderr unless given) is a terminal. `look` tells how far the work is and
    `words` says it; both are called in that thread.
    """

    def __init__(
        self,
        look: Callable[[], S],
        words: Callable[[S, float | None], str],
        kind: Kind = "auto",
        stream: TextIO | None = None,
        *,
        interval: float = INTERVAL,
    ) -> None:
        self._look = look
        self._words = words
        self._painter = _painter(kind, stream or sys.stderr, interval)
        self._pace = Pace()
        self._painting = threading.Lock()
        self._paused = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)
        self._painter.start()
        self._paint()  # the pace is counted from here
        atexit.register(self.close)  # else a program that ends meanwhile hides the cursor for good
        self._thread.start()

    def pause(self) -> None:
        """Leave the terminal to others, such as a debugger, until `resume`."""
        with self._painting:
            if not self._paused:
                self._paused = True
                self._painter.stop(erase=True)

    def resume(self) -> None:
        """Show again what goes on."""
        with self._painting:
            if self._paused:
                self._paused = False
                self._painter.start()

    def close(self, *, wait: bool = True) -> None:
        """Show how it ended, and give the stream back."""
        if not self._over.is_set():  # else the program may be at its end, and atexit gone
            self._over.set()
            atexit.unregister(self.close)
        if wait:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._painter.period):
            with self._painting:
                if not self._paused:
                    self._paint()
        with self._painting:
            if not self._paused:
                self._paint()
                with suppress(OSError, ValueError):
                    self._painter.stop(erase=False)

    def _paint(self) -> None:
        standing = self._look()
        with suppress(OSError, ValueError):  # gone, or closed; the work goes on
            self._painter.paint(standing, self._words(standing, self._pace.rate(standing)))


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
