"""Functions that the tests of map and Pool call; processes find them by their names."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any


class TwoPartError(Exception):
    """Can be pickled, but not be made again from that: it wants two arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)
        self.second = second


class Counter:
    """Its method is a function with a state."""

    def __init__(self, start: int) -> None:
        self.start = start

    def add(self, number: int) -> int:
        return self.start + number


def increase(number: int) -> int:
    return number + 1


def add(a: int, b: int = 1) -> int:
    return a + b


def reciprocal(number: int) -> float:
    return 1 / number


def fail_on_odd(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


class Unreadable:
    """Can be packed, but not be made again from that, in any process."""

    def __reduce__(self) -> Any:
        return fail_to_read, ()


def fail_to_read() -> None:
    raise ValueError("unreadable")


def give_unreadable_on_three(number: int) -> Any:
    return Unreadable() if number == 3 else number


def stop_on_two(number: int) -> int:
    if number == 2:
        raise StopIteration
    return number


def raise_two_part(number: int) -> int:
    raise TwoPartError(number, 2)


def give_lambda(number: int) -> Any:
    return lambda: number


def leave(number: int) -> int:
    sys.exit(number)


def pid(_: object) -> int:
    return os.getpid()


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def kill_on_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def tell_pid_and_wait(folder: str, number: int) -> int:
    """Says who works on it, and works until it may end."""
    (Path(folder) / f"{number}.{os.getpid()}").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.005)
    return number


def fail_twice(folder: str, number: int) -> int:
    """Fails the first two times that it is tried."""
    tries = Path(folder) / str(number)
    before = len(tries.read_text()) if tries.exists() else 0
    tries.write_text("x" * (before + 1))
    if before < 2:
        raise ConnectionError(f"attempt {before + 1}")
    return number


def hang_once(folder: str, number: int) -> int:
    marker = Path(folder) / str(number)
    if not marker.exists():
        marker.touch()
        while not (Path(folder) / "go").exists():
            time.sleep(0.005)
    return number


_kept: list[object] = []


def keep(*values: object) -> None:
    """An initializer."""
    _kept[:] = values


def kept(_: object) -> list[object]:
    return _kept


def answer_through_kept(value: object) -> None:
    (pipe,) = _kept
    pipe.send(value)  # type: ignore[attr-defined]


def map_inside(mode: str, number: int) -> list[int]:
    import crawler

    return list(crawler.map(increase, range(number), mode=mode, workers=2))


def hold(lock: Any, held: threading.Event) -> None:
    """Take the lock and keep it."""
    with lock:
        held.set()
        time.sleep(60)
