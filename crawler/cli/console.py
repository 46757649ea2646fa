"""What the command line says, all on stderr: messages, warnings, the log."""

from __future__ import annotations

import copy
import logging
import sys
from contextlib import suppress
from typing import TextIO

from crawler.escape import printable

_MAX_ALIKE = 10


def say(text: str) -> None:
    """A message for the user."""
    with suppress(OSError, ValueError):  # a terminal that is gone is no reason to fail
        print("\n".join(map(printable, text.splitlines())), file=sys.stderr, flush=True)  # noqa: T201


def complain(error: Exception) -> None:
    """Why the command failed."""
    say(f"crawl: {error}")
    for note in getattr(error, "__notes__", ()):
        say(note)


class _AtMostAlike(logging.StreamHandler[TextIO]):
    """Shows the first few failed pages; all of them are in failed.jsonl."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "crawler.engine" and record.levelno == logging.WARNING:
            self._seen += 1
            if self._seen > _MAX_ALIKE + 1:
                return
            if self._seen == _MAX_ALIKE + 1:
                record = copy.copy(record)  # the log gets the same one
                record.msg, record.args = "others that fail are listed in failed.jsonl only", ()
        super().emit(record)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).splitlines()))


def log_to_stderr(verbose: int, quiet: int) -> None:
    """-q shows errors only, nothing given warnings, -v what happens, -vv everything."""
    shown = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    level = shown.get(max(-1, verbose - quiet), logging.DEBUG)
    handler = _AtMostAlike()
    handler.setLevel(level)
    handler.setFormatter(_Formatter("%(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of what is no error to us
    root.setLevel(min(level, logging.INFO))
