from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout

import pytest

from crawler.cli.bar import display, sentence
from crawler.display import Kind, Pace
from crawler.progress import Block, RunState, Snapshot, Totals, block_name
from crawler.wording import duration
from deadline import wait_until
from terminal import new_terminal


@pytest.fixture
def block() -> Iterator[Block]:
    with Block.create(block_name("bar"), seats=2) as block:
        block.engine.update(known=40, done=12, items=300)
        yield block


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


def at(elapsed: float, **totals: int) -> Snapshot:
    state = RunState(totals.pop("state", RunState.RUNNING))
    return Snapshot("crawl-1-x", 1, 0.0, elapsed, Totals(state, **totals), ())


# The words


@pytest.mark.parametrize(
    ("snapshot", "rate", "words"),
    [
        (at(0, known=40), None, "0/40 pages, 0 items"),
        (at(0, done=1, items=1), None, "1 page, 1 item"),
        (
            at(9, known=40, done=12, items=300, failures=1),
            3.2,
            "12/40 pages, 300 items, 1 failed, 3.2 pages/s, 9 s left",
        ),
        (
            at(9, known=40, done=12, held=27, retries=1),
            0.5,
            "12/40 pages, 0 items, 1 retry, 0.5 pages/s, 2 s left",
        ),
        (at(9, known=40, done=12, retries=2), 0.0, "12/40 pages, 0 items, 2 retries, 0.0 pages/s"),
        (at(9, done=12, items=2), 3.0, "12 pages, 2 items, 3.0 pages/s"),
        (
            at(200, known=40, done=12, state=RunState.STOPPED),
            3.0,
            "12/40 pages, 0 items, 3.0 pages/s, in 3 min 20 s",
        ),
    ],
)
def test_a_run_in_one_sentence(snapshot: Snapshot, rate: float | None, words: str) -> None:
    assert sentence(snapshot, rate) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_pace_is_that_of_the_last_seconds_and_in_the_end_that_of_all() -> None:
    pace = Pace(window=10)
    assert pace.rate(at(0)) is None
    assert pace.rate(at(0.5, done=9)) is None  # too early to tell
    assert pace.rate(at(10, done=100)) == 10
    assert pace.rate(at(20, done=100, held=50)) == 5  # held ones have come in
    assert pace.rate(at(30, done=150)) == 0
    assert pace.rate(at(30, done=150, state=RunState.FINISHED)) == 5


def test_the_pace_of_a_resumed_run_counts_from_where_it_resumed() -> None:
    pace = Pace()
    pace.rate(at(0, done=1000))
    assert pace.rate(at(2, done=1010)) == 5


# Plain lines


def test_a_line_per_interval_and_one_at_the_end(block: Block) -> None:
    stream = io.StringIO()
    with display(block, stream=stream, interval=0.02):
        wait_until(lambda: stream.getvalue().count("\n") >= 2)
        block.engine.update(done=40, state=RunState.FINISHED)
    *lines, last = stream.getvalue().splitlines()
    assert lines[0] == "12/40 pages, 300 items"
    assert last.startswith("40/40 pages, 300 items, ")
    assert last.endswith(" pages/s, in 0 s")


@pytest.mark.parametrize("kind", ["plain", "none"])
def test_a_short_run_passes_without_a_line(block: Block, kind: Kind) -> None:
    stream = io.StringIO()
    with display(block, kind, stream):
        pass
    assert stream.getvalue() == ""


def test_a_terminal_that_can_not_move_its_cursor_gets_lines(
    block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with new_terminal() as terminal:
        with display(block, interval=0.02):
            wait_until(lambda: "12/40 pages" in terminal.written)
        assert "\x1b" not in terminal.written


def test_the_crawl_goes_on_when_nobody_reads_any_more(block: Block) -> None:
    class Closed(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            raise BrokenPipeError

    closed = Closed()
    with display(block, stream=closed, interval=0.01):
        wait_until(lambda: closed.writes > 1)


# The bar


def test_a_bar_is_drawn_and_its_last_state_stays(block: Block) -> None:
    with new_terminal() as terminal:
        with display(block):
            wait_until(lambda: "12/40 pages, 300 items" in terminal.screen()[-1])
            assert "━" in terminal.screen()[-1]
            block.engine.update(done=40, state=RunState.FINISHED)
        print("and then the next line")
        terminal.close()
        bar, following, end = terminal.screen()
        assert "━ 40/40 pages, 300 items, " in bar
        assert bar.endswith(", in 0 s")
        assert (following, end) == ("and then the next line", "")
        cursor_is_shown, cursor_is_hidden = "\x1b[?25h", "\x1b[?25l"
        assert terminal.written.rindex(cursor_is_shown) > terminal.written.rindex(cursor_is_hidden)


def test_what_is_printed_and_logged_stands_above_the_bar(block: Block) -> None:
    with new_terminal() as terminal:
        handler = logging.StreamHandler()  # holds the stderr of now
        logging.getLogger().addHandler(handler)
        try:
            with display(block):
                print("half a line, ", end="")
                wait_until(lambda: "12/40" in terminal.screen()[-1])
                print("and its [bold]end[/bold]", "x" * 150)
                logging.getLogger("spiders.quotes").warning("a log message")
                print("no newline", end="")
        finally:
            logging.getLogger().removeHandler(handler)
        assert handler.stream is terminal.stream
        terminal.close()
        first, log, tail, bar, _ = terminal.screen()
        assert first == "half a line, and its [bold]end[/bold] " + "x" * 150
        assert (log, tail) == ("a log message", "no newline")
        assert "12/40 pages" in bar


def test_data_on_a_piped_stdout_stay_out_of_the_bar(block: Block) -> None:
    pipe = io.StringIO()
    with new_terminal(), redirect_stdout(pipe):
        with display(block):
            print('{"title": "data"}')
        assert pipe.getvalue() == '{"title": "data"}\n'


def test_a_pause_leaves_a_clean_terminal(block: Block) -> None:
    with new_terminal() as terminal:
        with display(block) as shown:
            wait_until(lambda: "12/40" in terminal.screen()[-1])
            shown.pause()
            shown.pause()
            print("(Pdb) next", flush=True)
            wait_until(lambda: terminal.written.endswith("(Pdb) next\r\n"))
            assert terminal.screen() == ["(Pdb) next", ""]
            before = terminal.written
            block.engine.update(done=13)
            time.sleep(0.2)  # longer than from one drawing to the next
            assert terminal.written == before
            shown.resume()
            wait_until(lambda: "13/40" in terminal.screen()[-1])
            shown.pause()
        assert sys.stdout is terminal.stream
        terminal.close()
        assert "".join(terminal.screen()) == "(Pdb) next"


@pytest.mark.parametrize("columns", [8, 20, 40, 60, 80, 200])
def test_the_bar_fits_the_terminal(
    block: Block, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with new_terminal() as terminal:
        with display(block):
            wait_until(lambda: "12/4" in terminal.screen()[-1])
            assert len(terminal.screen()) == 1
        terminal.close()
        assert len(terminal.screen()[0]) <= columns - 3


def test_colours_can_be_refused(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with new_terminal() as terminal:
        with display(block):
            wait_until(lambda: "12/40" in terminal.screen()[-1])
        assert "\x1b[3" not in terminal.written
