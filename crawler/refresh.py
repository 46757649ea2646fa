"""Outputs while the crawl is at work: every so often they are replaced by what is there so far.

    crawl (a thread that waits)           a process of its own, at low priority
    if it is time: what to write,
    and how far         --stdin---------> the items up to the last checkpoint, exported as at the
                                          end: each file is replaced whole
    ends, or is killed  --stdin closes--> ends too, and leaves the file as it was

So the crawl loses no time, and what is published is what a resumed crawl would have as well.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from crawler.errors import CrawlError
from crawler.output import Target, publish_items
from crawler.part import lines_up_to

_PROGRAM = (
    "import json, sys; given = json.loads(sys.stdin.buffer.readline()); "
    "sys.path[:] = given['path']; from crawler.refresh import work; work(given)"
)
_NICE = 10

log = logging.getLogger("crawler.refresh")


class Refresher:
    """Refreshes the outputs that are files or elsewhere; stdout, devices and pipes are left out.

    `items` is the file that grows. With fewer items than `least`, or none since the last time,
    nothing is done. An output that can't be written is a warning in the log; the crawl goes on.
    """

    def __init__(self, targets: list[Target], items: Path, *, every: float, least: int = 1) -> None:
        self._targets = [target for target in targets if _is_replaced(target)]
        self._items = items.absolute()
        self._every = every
        self._least = max(1, least)
        self._safe = (0, 0)
        """Bytes and items."""
        self._published = 0
        self._is_closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._refresh, name="refresh", daemon=True)
        self._thread.start()

    def checkpoint(self, size: int, count: int) -> None:
        """The first `size` bytes of the items, `count` items, are safe."""
        self._safe = (size, count)

    def close(self) -> None:
        """End it. The outputs are those of the last refresh that came to its end."""
        self._is_closing.set()
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()  # by which it ends
        self._thread.join()

    def _refresh(self) -> None:
        """What the thread does: it waits, for time to pass and for the process."""
        pause = self._every
        while not self._is_closing.wait(pause):
            size, count = self._safe
            pause = self._every
            if count >= self._least and size != self._published and self._targets:
                began = time.monotonic()
                if self._publish(size):
                    self._published = size
                took = time.monotonic() - began
                pause = max(self._every - took, took)  # half of the time at most goes into it

    def _publish(self, size: int) -> bool:
        package = str(Path(__file__).parents[1])  # a spider may have changed the directory
        given = {
            "path": [package, *sys.path],
            "items": str(self._items),
            "size": size,
            "targets": [_as_json(target) for target in self._targets],
        }
        try:
            process = subprocess.Popen(  # noqa: S603  (our own program)
                [sys.executable, "-P", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for the crawl
            )
        except OSError as error:
            log.warning("the outputs can't be refreshed: %s", error)
            return False
        self._process = process
        stdin, stderr = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stderr)
        said = b""
        with suppress(OSError, ValueError), process:  # it ended, or `close` was called meanwhile
            stdin.write(json.dumps(given).encode() + b"\n")
            stdin.flush()
            if self._is_closing.is_set():
                stdin.close()
            said = stderr.read()
        self._process = None
        if process.returncode and not self._is_closing.is_set():
            why = said.decode(errors="replace").strip() or f"exit code {process.returncode}"
            log.warning("the outputs were not refreshed: %s", why)
        return process.returncode == 0


def work(given: dict[str, Any]) -> None:
    """What the process does. Exits with the code of what went wrong, and says it on stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=_end_with_the_crawl, daemon=True).start()
    with suppress(OSError):
        os.nice(_NICE)
    lines = partial(lines_up_to, Path(given["items"]), given["size"])
    code = 0
    with tempfile.TemporaryDirectory(prefix="crawl-") as folder:
        for each in given["targets"]:
            target = _from_json(each)
            try:
                publish_items(lines, target, Path(folder))
            except CrawlError as error:
                print(error, file=sys.stderr)  # noqa: T201  (the crawl reads it)
                code = error.exit_code
    sys.exit(code)


def _end_with_the_crawl() -> None:
    """Also when that is killed: an old file must not take the place of a new one later on."""
    while os.read(0, 1024):  # by sys.stdin it would hold a lock that Python's end waits for
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _is_replaced(target: Target) -> bool:
    if target.path is None:
        return target.url is not None
    return target.place.is_file() or not target.place.exists()


def _as_json(target: Target) -> dict[str, Any]:
    paths = {"path": target.path and str(target.path), "place": str(target.place)}
    return {**asdict(target), **paths}


def _from_json(values: dict[str, Any]) -> Target:
    path = values["path"]
    paths = {"path": None if path is None else Path(path), "place": Path(values["place"])}
    return Target(**{**values, **paths})
