"""The file run.log: what happened, in lines that nobody can forge and that don't fill the disk.

A million failures say no more than the first hundreds, and each is in failed.jsonl. So of each kind
of message only so much is written, and at the end how many more there were.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path

from crawler.escape import printable

_MAX_OURS = 2**15
"""Characters of one kind of message of ours: some hundred lines."""
_MAX_OTHERS = 2**22
"""The same of one place in other code, which may be a spider's own diary."""
_LONGEST = 4_000
"""Characters of one message."""


class _Kind:
    """How much was written of a kind of message, and how many more there were."""

    __slots__ = ("left_out", "template", "written")

    def __init__(self, template: str) -> None:
        self.template = template
        self.written = 0
        self.left_out = 0


class RunLog(logging.FileHandler):
    """One line per event, and at most so many of a kind.

    Messages are of one kind when they come from the same place in the code, and have the same
    `kind` where that is given (`log.warning(..., extra={"kind": "timeout"})`).
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._is_broken = False
        self._kinds: dict[tuple[str, int, object], _Kind] = {}
        self._length = 0
        """Of what was formatted last."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it."""
        key = (record.pathname, record.lineno, getattr(record, "kind", None))
        kind = self._kinds.get(key)
        if kind is None:
            about = f" [{key[2]}]" if key[2] is not None else ""
            kind = self._kinds[key] = _Kind(f"{str(record.msg)[:100]}{about}")
        is_ours = record.name.partition(".")[0] == "crawler"
        if kind.written >= (_MAX_OURS if is_ours else _MAX_OTHERS):
            kind.left_out += 1
            return
        super().emit(record)
        kind.written += self._length

    def format(self, record: logging.LogRecord) -> str:
        """The record in one line; others that belong to it are indented."""
        text = super().format(record)
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]} ... ({len(text):,} characters)"
        text = "\n    ".join(printable(line) for line in text.splitlines())
        self._length = len(text)
        return text

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Say once, in place of a traceback per line, that it can't be written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._is_broken:
            self._is_broken = True
            why = error.strerror or error
            logging.getLogger(__name__).warning("can't write %s: %s", self.baseFilename, why)

    def close(self) -> None:
        """Write what was only counted, and close the file."""
        left_out = [kind for kind in self._kinds.values() if kind.left_out]
        self._kinds = {}
        for kind in left_out:
            text = f"{kind.left_out:,} more like this: {kind.template}"
            super().emit(logging.LogRecord("crawler.log", logging.INFO, "", 0, text, (), None))
        with suppress(OSError):  # a full disk
            super().close()
