"""Functions that tests let worker processes run; they travel by name."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

_seat = threading.local()


def prepare(seat: int, *_: Any) -> None:
    """An initializer that remembers its seat."""
    _seat.number = seat


def fail_to_prepare(seat: int, *_: Any) -> None:
    """An initializer that kills its process."""
    os._exit(3)


def seat_and_pid() -> tuple[int, int]:
    return _seat.number, os.getpid()


def square(number: int) -> int:
    return number * number


def raise_error(text: str) -> None:
    raise ValueError(text)


def return_lambda() -> Any:
    return lambda: None


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exit_quietly() -> None:
    os._exit(0)


def kill_self_once(marker: Path) -> str:
    """Dies the first time it is tried, in company or not."""
    if not marker.exists():
        marker.touch()
        kill_self()
    return "survived"


def wait_for(path: Path) -> str:
    """Work until a file appears."""
    give_up_at = time.monotonic() + 30
    while not path.exists():
        if time.monotonic() > give_up_at:
            raise TimeoutError(str(path))
        time.sleep(0.005)
    return "released"


def meet(folder: Path, number: int, count: int) -> int:
    """Return once `count` tasks are at work at the same time."""
    (folder / str(number)).touch()
    give_up_at = time.monotonic() + 30
    while len(list(folder.iterdir())) < count:
        if time.monotonic() > give_up_at:
            raise TimeoutError(str(folder))
        time.sleep(0.005)
    return number


def fork_and_die_once(marker: Path) -> str:
    """Leaves a process behind that holds all its files open, and dies; once."""
    if marker.exists():
        return "survived"
    sleeper = os.fork()
    if sleeper == 0:
        time.sleep(60)
        os._exit(0)
    marker.write_text(str(sleeper))
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def hold_the_interpreter() -> None:
    """A catastrophic regular expression: no other thread gets to run."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def length(text: str) -> int:
    return len(text)


def raise_error_in_seat(seat: int, *_: Any) -> None:
    raise ValueError("no seat")


def take(size: int) -> int:
    return len(bytearray(size))


def give(size: int) -> bytes:
    """Half of it is to travel back: pickled it takes as much again."""
    return bytes(size)
