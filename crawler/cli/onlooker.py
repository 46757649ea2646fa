"""The live table of a run, worker by worker, seen from another process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from crawler.cli.bar import sentence
from crawler.display import Pace, bar, drawable
from crawler.escape import printable
from crawler.progress import Block, RunState, Seat, SeatState, Snapshot
from crawler.wording import duration, plural, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

_ENDS = {
    RunState.RUNNING: "process {0.pid}, which ran the crawl, died",
    RunState.FINISHED: "the crawl has finished",
    RunState.STOPPED: "the crawl was stopped",
    RunState.FAILED: "the crawl failed",
}


def watch(name: str, *, stream: TextIO, interval: float = 0.5) -> int:
    """Show the run behind a block until it ends, and return an exit code.

    A live table if `stream` is a terminal, else plain text every `interval` seconds. 0 if the run
    ended by itself or the watching was interrupted, 1 if the process that ran it died. Raises
    UsageError if there is no such run. The run doesn't notice any of this.
    """
    show = _show_live if drawable(stream) else _show_plain
    with Block.attach(name) as block:
        try:
            last = show(_snapshots(block, interval), stream)
        except KeyboardInterrupt:
            if stream.isatty():  # a reader at the other end of a pipe was interrupted as well
                stream.write("no longer watched; the crawl goes on\n")
            return 0
        stream.write(_ENDS[last.totals.state].format(last) + "\n")
        return 0 if last.over else 1


def _snapshots(block: Block, interval: float) -> Iterator[Snapshot]:
    """What stands in the block every `interval` seconds, up to the end of the run."""
    while True:
        alive = block.owner_alive()  # before the reading: its last words are to be read
        snapshot = block.read()
        yield snapshot
        if snapshot.over or not alive:
            return
        time.sleep(interval)


def _show_plain(snapshots: Iterator[Snapshot], stream: TextIO) -> Snapshot:
    pace = Pace()
    for snapshot in snapshots:
        stream.write(f"{sentence(snapshot, pace.rate(snapshot))}\n")
        stream.write(f"  {_engine(snapshot)}\n")
        for seat in snapshot.seats:
            stream.write(f"  {_words(seat)}\n")
        stream.flush()
    return snapshot


def _show_live(snapshots: Iterator[Snapshot], stream: TextIO) -> Snapshot:
    from rich.console import Console
    from rich.live import Live

    pace = Pace()
    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    with Live(console=console, auto_refresh=False) as live:
        for snapshot in snapshots:
            live.update(_page(snapshot, pace, console.width), refresh=True)
    return snapshot


def _page(snapshot: Snapshot, pace: Pace, width: int) -> RenderableType:
    """The whole picture on a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, expand=True, pad_edge=False, header_style="bold")
    for heading in ("seat", "state", "for"):
        table.add_column(heading, justify="left" if heading == "state" else "right", no_wrap=True)
    table.add_column("url", ratio=1, no_wrap=True, overflow="ellipsis")
    for heading in ("pages", "items", "bytes", "failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for seat in snapshot.seats:
        table.add_row(*map(Text, _cells(seat)), style="dim" if seat.state is SeatState.IDLE else "")
    return Group(
        Text(f"{snapshot.name}, {_engine(snapshot)}", no_wrap=True, overflow="ellipsis"),
        bar(snapshot, sentence(snapshot, pace.rate(snapshot)), width),
        table,
    )


def _engine(snapshot: Snapshot) -> str:
    totals = snapshot.totals
    parts = [] if snapshot.over else [f"running for {duration(snapshot.elapsed)}"]
    parts += [
        f"{totals.in_flight} in flight",
        f"{totals.held} held for order",
        f"{totals.waiting} waiting",
    ]
    if totals.deaths:
        parts.append(f"{plural(totals.deaths, 'worker')} died")
    return ", ".join(parts)


def _words(seat: Seat) -> str:
    """A seat in plain text."""
    done = f"{plural(seat.pages, 'page')}, {plural(seat.items, 'item')}, {size(seat.bytes)}"
    doing = f"{seat.state.name.lower()} {_since(seat)} {printable(seat.url)}"
    return f"{seat.label:>4}  {done}, {seat.failed} failed; {doing}".rstrip()


def _cells(seat: Seat) -> tuple[str, ...]:
    """A seat's row in the table."""
    return (
        seat.label,
        seat.state.name.lower(),
        _since(seat),
        printable(seat.url),
        str(seat.pages),
        str(seat.items),
        size(seat.bytes),
        str(seat.failed),
    )


def _since(seat: Seat) -> str:
    return f"{seat.seconds:.1f} s" if seat.seconds < 60 else duration(seat.seconds)
