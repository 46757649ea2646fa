"""Outputs while the crawl is at work: every so often they are replaced by what is there so far.

    crawl                                 a process of its own, at low priority
    after a checkpoint, if it is time:
    what to write, how far --stdin------> the items up to the last checkpoint, exported as at the
                                          end: each file is replaced whole
    ends, or is killed --stdin closes---> ends too, and leaves the file as it was

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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from crawler.errors import CrawlError
from crawler.output import Target, publish_items
from crawler.part import lines_up_to

_PROGRAM = (
    "import json, sys; given = json.loads(sys.stdin.buffer.readline()); "
    "sys.path[:] = given['path']; from crawler.refresh import work; work(given)"
)
_NICE = 10
_SECONDS_TO_END = 10.0

log = logging.getLogger("crawler.refresh")


class Refresher:
    """Refreshes the outputs that are files or elsewhere; stdout, devices and pipes are left out.

    `items` is the file that grows. With fewer items than `least` nothing is published. An output
    that can't be written is a warning in the log; the crawl goes on.
    """

    def __init__(
        self,
        targets: list[Target],
        items: Path,
        *,
        every: float,
        least: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._targets = [target for target in targets if _is_replaced(target)]
        self._items = items
        self._every = every
        self._least = max(1, least)
        self._clock = clock
        self._began = clock()
        self._due = self._began + every
        self._process: subprocess.Popen[bytes] | None = None

    def checkpoint(self, size: int, count: int) -> None:
        """The first `size` bytes of the items, `count` items, are safe: publish them if it is time.

        Returns at once.
        """
        if self._process is not None and self._process.poll() is not None:
            self._ended(self._process)
        if self._process is None and self._clock() >= self._due and count >= self._least:
            self._begin(size)

    def close(self) -> None:
        """End it. The outputs are those of the last refresh that came to its end."""
        process = self._process
        if process is None:
            return
        self._process = None
        with suppress(OSError), process:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()

    def _begin(self, size: int) -> None:
        if not self._targets or not sys.executable:
            return
        package = str(Path(__file__).parents[1])  # a spider may have changed the directory
        given = {
            "path": [package, *sys.path],
            "items": str(self._items.absolute()),
            "size": size,
            "targets": [_as_json(target) for target in self._targets],
        }
        self._began = self._clock()
        self._due = self._began + self._every
        try:
            self._process = subprocess.Popen(  # noqa: S603  (our own program)
                [sys.executable, "-P", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for the crawl
            )
            if self._process.stdin is not None:
                self._process.stdin.write(json.dumps(given).encode() + b"\n")
                self._process.stdin.flush()
        except OSError as error:
            log.warning("the outputs can't be refreshed: %s", error)

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        with process:
            said = b"" if process.stderr is None else process.stderr.read()
        took = self._clock() - self._began
        # Half of the time at most goes into it.
        self._due = max(self._due, self._clock() + took)
        if process.returncode:
            text = said.decode(errors="replace").strip() or f"exit code {process.returncode}"
            log.warning("the outputs were not refreshed: %s", text)
        else:
            log.info("the outputs were refreshed in %.1f s", took)


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
    while sys.stdin.buffer.read(1024):
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
