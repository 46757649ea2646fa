"""The practice site: a real HTTP server on loopback to learn on, to test against and to measure.

    from crawler import demo

    with demo.start(latency=0.05) as site:
        requests.get(site.url + "/text/")

It runs as its own process and imports only the standard library. `start` returns at once, so that
a crawl does its own imports meanwhile; `site.url` waits until the server listens. The site's index
page, `/`, lists all that it can do.
"""

from __future__ import annotations

import selectors
import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, cast

START_SECONDS = 20.0
STOP_SECONDS = 5.0

# The server runs without its parent package: `import crawler` would cost as much as the server's
# whole start. The folder comes as an argument, so neither the directory nor PYTHONPATH matters.
_BOOT = """
import sys, types
parent = sys.modules["crawler"] = types.ModuleType("crawler")
parent.__path__ = [sys.argv.pop(1)]
from crawler.demo.__main__ import main
sys.exit(main())
"""


class PracticeSiteError(RuntimeError):
    """The practice site did not start; the message holds what its process said."""


class PracticeSite:
    """A practice site in its own process; it ends with `close`, or when this process does."""

    def __init__(self, arguments: list[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(  # noqa: S603 - our own code, our own interpreter
            [sys.executable, "-I", "-S", "-c", _BOOT, str(Path(__file__).parents[1]), *arguments],
            stdin=subprocess.PIPE,  # the server ends when this pipe does, however we died
            stdout=subprocess.PIPE,
            stderr=self._errors,
            process_group=0,  # Ctrl-C goes to the crawl's group, which still needs its site
        )

        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @cached_property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end; waits until the site listens.

        Raises PracticeSiteError with what the server said if it ends, or takes over 20 seconds.
        """
        announced = self._first_line()
        if not announced:
            self._end()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip()
            self.close()
            raise PracticeSiteError(said or f"no sign of life in {START_SECONDS:g} seconds")
        return announced

    def close(self) -> None:
        """Stop the server and wait until it is gone; harmless when called twice."""
        self._end()
        self._stdout.close()
        self._errors.close()

    def _first_line(self) -> str:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            if not selector.select(START_SECONDS):
                return ""
        return self._stdout.readline().decode().strip()

    def _end(self) -> None:
        self._stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> PracticeSite:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def start(
    port: int | None = None,
    *,
    host: str = "127.0.0.1",
    latency: float = 0.0,
    jitter: float = 0.0,
    latency_sigma: float = 0.0,
    fail: float = 0.0,
    seed: int = 0,
) -> PracticeSite:
    """Start a practice site in a process of its own; returns before it listens.

    `port`: None is 8642 if that is free, else any free one; 0 is any free one. `host`: the address
    to listen on; a second site on 127.0.0.2 is another host to a crawler. Every page is `latency`
    seconds late, plus a random part up to `jitter`, or times a log-normal factor of
    `latency_sigma`. `fail` is the share of page requests that fail at first and succeed when asked
    again. All of it, and every text on the site, follows from `seed`.
    """
    arguments = ["--attached", f"--host={host}", f"--seed={seed}"]
    arguments += [f"--latency={latency}", f"--jitter={jitter}"]
    arguments += [f"--latency-sigma={latency_sigma}", f"--fail={fail}"]
    if port is not None:
        arguments.append(f"--port={port}")
    return PracticeSite(arguments)
