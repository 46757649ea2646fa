"""What the command line says, all on stderr: messages, warnings, the log."""

from __future__ import annotations

import logging
import sys

from crawler.escape import printable

_MAX_ALIKE = 10


def say(text: str) -> None:
    """A message for the user."""
    print("\n".join(map(printable, text.splitlines())), file=sys.stderr, flush=True)  # noqa: T201


def complain(error: Exception) -> None:
    """Why the command failed."""
    say(f"crawl: {error}")


class _AtMostAlike(logging.Filter):
    """Shows the first few failed pages; all of them are in failed.jsonl."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "crawler.engine" or record.levelno != logging.WARNING:
            return True
        self._seen += 1
        if self._seen == _MAX_ALIKE + 1:
            record.msg, record.args = "more pages failed; see failed.jsonl in the run's folder", ()
        return self._seen <= _MAX_ALIKE + 1


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).splitlines()))


def log_to_stderr(verbose: int, quiet: int) -> None:
    """-q shows errors only, nothing given warnings, -v what happens, -vv everything."""
    shown = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    level = shown.get(max(-1, verbose - quiet), logging.DEBUG)
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.addFilter(_AtMostAlike())
    handler.setFormatter(_Formatter("%(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("filelock").setLevel(logging.WARNING)  # it tells of each lock
    root.setLevel(min(level, logging.INFO))
