"""A terminal for tests: a real pseudo-terminal, and what would stand on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import TracebackType
from typing import Self

_TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b\].*?\x07|[^\x1b]")


class Terminal:
    """`stream` is what a program on the terminal writes to; `screen` is what its user sees."""

    def __init__(self, columns: int = 100, rows: int = 30) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def written(self) -> str:
        """Everything that was written, with its control sequences."""
        return self._written.decode("utf-8", "replace")

    def screen(self) -> list[str]:
        """The lines that are seen, as far as anyone scrolls back."""
        lines, row, column = [""], 0, 0
        for token in _TOKEN.finditer(self.written):
            count = int(token[1]) if token[1] and token[1].isdigit() else 1
            if token[0] == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            elif token[0] == "\r":
                column = 0
            elif token[2] == "A":
                row -= count
            elif token[2] == "K":
                lines[row] = ""
            elif not token[0].startswith("\x1b"):
                lines[row] = lines[row].ljust(column)[:column] + token[0] + lines[row][column + 1 :]
                column += 1
        return [line.rstrip() for line in lines]

    def close(self) -> None:
        """Close the window, when everything that was written is on it. Twice is fine."""
        if not self.stream.closed:
            self.stream.close()
            self._reader.join()
            os.close(self._master)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self._written += data
        except OSError:
            pass  # Linux's way to say that nobody has the other end any more


@contextmanager
def new_terminal() -> Iterator[Terminal]:
    """A terminal where stdout and stderr go."""
    with Terminal() as terminal, redirect_stdout(terminal.stream), redirect_stderr(terminal.stream):
        yield terminal
