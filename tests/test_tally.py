"""`progress=True`: how far a map is, on stderr."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import crawler
import mapped
from crawler.display import Display
from crawler.tally import Tally, sentence
from deadline import wait_until
from leftovers import watch
from terminal import Terminal, new_terminal

CURSOR_IS_SHOWN, CURSOR_IS_HIDDEN = "\x1b[?25h", "\x1b[?25l"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="module", autouse=True)
def _fork_server() -> None:
    """It keeps the stderr of when it starts, and would keep a test's terminal open."""
    list(crawler.map(mapped.increase, [1], mode="processes"))


def at(total: int | None, done: int, failed: int = 0, retries: int = 0, *, over: bool) -> Tally:
    tally = Tally(total)
    tally.done, tally.failed, tally.retries, tally.over = done, failed, retries, over
    return tally


@pytest.mark.parametrize(
    ("tally", "rate", "words"),
    [
        (at(40, 0, over=False), None, "0/40 done"),
        (at(40, 12, 1, 2, over=False), 3.2, "12/40 done, 1 failed, 2 retries, 3.2/s, 9 s left"),
        (at(40, 40, retries=1, over=False), 3.2, "40/40 done, 1 retry, 3.2/s"),
        (at(None, 12, over=False), 3.0, "12/? done, 3.0/s"),
        (at(40, 12, over=False), 0.0, "12/40 done, 0.0/s"),
    ],
)
def test_a_map_in_one_sentence(tally: Tally, rate: float | None, words: str) -> None:
    assert sentence(tally, rate) == words


def test_what_is_over_tells_its_time() -> None:
    tally = at(40, 12, over=False)
    tally.begin()
    tally.end(wait=True)
    assert sentence(tally, None).startswith("12/40 done, in ")


@pytest.mark.parametrize("mode", ["threads", "processes", "sequential"])
def test_a_bar_on_a_terminal(mode: str) -> None:
    with new_terminal() as terminal:
        results = crawler.map(
            mapped.fail_on_odd, range(20), mode=mode, on_error="skip", progress=True
        )
        assert terminal.written == "", "nothing is asked for yet"
        for result in results:
            print("result", result)
            if result == 10:
                wait_until(lambda: "/20 done" in terminal.screen()[-1])
        terminal.close()
        *lines, bar, end = terminal.screen()
    assert lines == [f"result {number}" for number in range(0, 20, 2)], "above the bar"
    assert "━ 20/20 done, 10 failed, " in bar
    assert ", in " in bar
    assert end == ""
    shown, hidden = map(terminal.written.rindex, (CURSOR_IS_SHOWN, CURSOR_IS_HIDDEN))
    assert shown > hidden


def test_how_many_there_are_is_known_when_the_inputs_end() -> None:
    with new_terminal() as terminal:
        results = crawler.map(mapped.increase, (n for n in range(200)), workers=1, progress=True)
        next(results)
        wait_until(lambda: "/? done" in terminal.screen()[-1])
        assert len(list(results)) == 199
        terminal.close()
    assert "200/200 done" in terminal.screen()[-2]


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([range(7), [1] * 9], "/7 done"),
        ([range(7), itertools.repeat(1)], "/7 done"),
        ([itertools.count(), itertools.repeat(1)], "/? done"),
    ],
)
def test_how_many_there_are_of_several(sources: list[Any], words: str) -> None:
    with new_terminal() as terminal, crawler.map(mapped.add, *sources, progress=True) as results:
        next(results)
        wait_until(lambda: words in terminal.screen()[-1])


def test_how_many_tuples_there_are() -> None:
    with new_terminal() as terminal:
        assert list(crawler.starmap(mapped.add, [(1, 2), (3, 4)], progress=True)) == [3, 7]
        terminal.close()
    assert "2/2 done" in terminal.screen()[-2]


@pytest.mark.parametrize("way", ["left", "failed", "forgotten"])
def test_the_terminal_is_given_back(way: str) -> None:
    nothing_is_left = watch()
    with new_terminal() as terminal:
        inputs = [0, 1] if way == "failed" else [0] * 99
        results = crawler.map(mapped.fail_on_odd, inputs, progress=True)
        assert next(results) == 0
        assert sys.stdout is not terminal.stream
        if way == "left":
            results.close()
        elif way == "failed":
            with pytest.raises(ValueError, match="odd"):
                next(results)
        del results
        wait_until(lambda: sys.stdout is terminal.stream)
        wait_until(lambda: CURSOR_IS_SHOWN in terminal.written)
    wait_until(nothing_is_left)


def test_a_program_that_ends_meanwhile_gives_the_terminal_back(tmp_path: Path) -> None:
    code = (
        f"import itertools, sys; sys.path[:0] = {sys.path!r}\n"
        "import crawler, mapped\n"
        "results = crawler.map(mapped.increase, itertools.count(), progress=True)\n"
        "next(results)\n"
    )
    with Terminal() as terminal:
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdout=terminal.stream,
            stderr=terminal.stream,
            timeout=60,
            check=True,
            env={"TERM": "xterm", "COLUMNS": "80"},
        )
        wait_until(lambda: CURSOR_IS_HIDDEN in terminal.written)
        wait_until(lambda: CURSOR_IS_SHOWN in terminal.written)
        assert "Exception" not in terminal.written


def test_lines_where_there_is_no_terminal() -> None:
    stream, tally = io.StringIO(), Tally(40)
    shown = Display(lambda: tally, sentence, stream=stream, interval=0.02)
    wait_until(lambda: stream.getvalue().count("\n") >= 2)
    tally.done = 40
    tally.over = True
    shown.close()
    *lines, last = stream.getvalue().splitlines()
    assert lines[0] == "0/40 done"
    assert last.startswith("40/40 done, ")


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_short_one_writes_no_line(is_shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(crawler.map(mapped.increase, range(9), progress=is_shown)) == list(range(1, 10))
    assert capsys.readouterr() == ("", "")
