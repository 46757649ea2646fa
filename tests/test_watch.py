from __future__ import annotations

import io
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest

from crawler.cli.onlooker import watch
from crawler.errors import UsageError
from crawler.progress import Block, RunState, block_name
from crawler.shared import remove_stale
from deadline import wait_until
from terminal import Terminal


@pytest.fixture
def block() -> Iterator[Block]:
    """A run in the middle: one worker fetches, one is in the spider, one has nothing to do."""
    with Block.create(block_name("watch"), seats=3) as block:
        block.engine.update(known=40, done=12, items=300, in_flight=2, held=1, deaths=1)
        for index in range(2):
            seat = block.seat(index)
            seat.done(items=7, body_bytes=1_234_567, failed=False)
            seat.fetching(f"https://example.org/{index}/\x1b[31m")
        seat.parsing()
        yield block


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    with Terminal() as terminal:
        yield terminal


def test_a_finished_run_in_plain_text(block: Block) -> None:
    block.engine.update(state=RunState.FINISHED)
    stream = io.StringIO()
    assert watch(block.name, stream=stream) == 0
    first, engine, *seats, end = stream.getvalue().splitlines()
    assert first == "12/40 pages, 300 items, in 0 s"
    assert engine == "  2 in flight, 1 held for order, 0 waiting, 1 worker died"
    counts = "1 page, 7 items, 1.2 MB, 0 failed"
    assert seats == [
        f"     1  {counts}; fetching 0.0 s https://example.org/0/\\x1b[31m",
        f"     2  {counts}; spider 0.0 s https://example.org/1/\\x1b[31m",
        "     3  0 pages, 0 items, 0 B, 0 failed; idle 0.0 s",
    ]
    assert end == "the crawl has finished"


def test_a_run_is_watched_until_it_ends(block: Block) -> None:
    stream = io.StringIO()
    codes: list[int] = []
    watcher = threading.Thread(
        target=lambda: codes.append(watch(block.name, stream=stream, interval=0.01))
    )
    watcher.start()
    wait_until(lambda: stream.getvalue().count("12/40 pages") >= 2)
    block.engine.update(done=13, state=RunState.STOPPED)
    watcher.join()
    assert codes == [0]
    assert "13/40 pages" in stream.getvalue()
    assert stream.getvalue().endswith("\nthe crawl was stopped\n")
    assert block.read().totals.done == 13  # the block is still there, and the owner's


def test_a_table_on_a_terminal(block: Block, terminal: Terminal) -> None:
    watcher = threading.Thread(
        target=watch, args=(block.name,), kwargs={"stream": terminal.stream, "interval": 0.01}
    )
    watcher.start()
    wait_until(lambda: "example.org" in "".join(terminal.screen()))
    block.seat(2).fetching("https://example.org/2")
    wait_until(lambda: "https://example.org/2" in "".join(terminal.screen()))
    block.engine.update(state=RunState.FINISHED)
    watcher.join()
    terminal.close()
    header, bar, titles, *seats, end, _ = terminal.screen()
    assert header.startswith(f"{block.name}, 2 in flight, 1 held for order, ")
    assert "━ 12/40 pages, 300 items, " in bar
    assert titles.split() == ["seat", "state", "for", "url", "pages", "items", "bytes", "failed"]
    assert [seat.split()[:2] for seat in seats] == [
        ["1", "fetching"],
        ["2", "spider"],
        ["3", "fetching"],
    ]
    assert "https://example.org/0/\\x1b[31m" in seats[0]
    assert seats[0].split()[-5:] == ["1", "7", "1.2", "MB", "0"]
    assert end == "the crawl has finished"


@pytest.mark.parametrize("on_terminal", [True, False])
def test_a_run_whose_process_dies_is_told_from_one_that_ends(
    terminal: Terminal, on_terminal: bool
) -> None:
    code = """
        import sys
        from crawler.progress import Block
        block = Block.create(sys.argv[1], seats=1)
        print(flush=True)
        sys.stdin.read()
    """
    name = block_name("dies")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout
        owner.stdout.readline()
        killer = threading.Timer(0.1, owner.kill)
        killer.start()
        plain = io.StringIO()
        stream = terminal.stream if on_terminal else plain
        assert watch(name, stream=stream, interval=0.01) == 1
        killer.join()
    remove_stale()
    terminal.close()
    seen = "\n".join(terminal.screen()) if on_terminal else plain.getvalue()
    assert seen.endswith(f"process {owner.pid}, which ran the crawl, died\n")


@pytest.mark.parametrize("on_terminal", [True, False])
def test_who_stops_watching_does_not_stop_the_run(
    block: Block, terminal: Terminal, on_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    stream = terminal.stream if on_terminal else io.StringIO()
    assert watch(block.name, stream=stream) == 0
    monkeypatch.undo()
    terminal.close()
    assert ("no longer watched; the crawl goes on" in terminal.screen()) is on_terminal
    with Block.attach(block.name) as again:
        assert not again.read().over


def test_watching_what_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="no crawl is running under the name 'crawl-1-gone'"):
        watch("crawl-1-gone", stream=io.StringIO())
