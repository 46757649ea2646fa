"""One thread at a time, or a few."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest

from crawler import Response
from crawler import response as response_module
from crawler.turns import Turns


@pytest.mark.parametrize("at_once", [1, 3])
def test_so_many_threads_at_a_time_have_a_turn(at_once: int) -> None:
    turns = Turns(longest=60, at_once=at_once)
    inside = 0
    most = 0
    counting = threading.Lock()
    together = threading.Barrier(at_once)

    def work(_: int) -> None:
        nonlocal inside, most
        with turns.turn():
            with counting:
                inside += 1
                most = max(most, inside)
            together.wait(30)
            sleep(0)  # others may run now
            with counting:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(300)))
    assert most == at_once


def test_who_takes_too_long_keeps_nobody_waiting() -> None:
    turns = Turns(longest=0.01)
    begun, end = threading.Event(), threading.Event()

    def take_long() -> None:
        with turns.turn():
            begun.set()
            end.wait()

    thread = threading.Thread(target=take_long)
    thread.start()
    begun.wait()
    for _ in range(2):
        with turns.turn():
            assert thread.is_alive()
    end.set()
    thread.join()
    with turns.turn():
        pass


def test_who_comes_when_it_took_too_long_already_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("crawler.turns.time.monotonic", lambda: now)
    turns = Turns(longest=1_000)

    def enter() -> bool:
        with turns.turn():
            return True

    with ThreadPoolExecutor(1) as pool, turns.turn():
        now = 1_001.0
        assert pool.submit(enter).result(30)


def test_who_fails_gives_the_turn_back() -> None:
    turns = Turns(longest=60)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), turns.turn():
            raise ZeroDivisionError


def test_soups_are_made_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(longest=60)
    monkeypatch.setattr(response_module, "_soups", turns)
    page = Response("http://x/", b"<p>One", status=200)
    with ThreadPoolExecutor(1) as pool:
        with turns.turn():
            soup = pool.submit(lambda: page.soup.p)
            with pytest.raises(TimeoutError):
                soup.result(0.2)
        assert str(soup.result()) == "<p>One</p>"
