"""JSON Lines, UTF-8: one item a line, so that it can be followed while it grows (jsonlines.org)."""

from __future__ import annotations

from typing import BinaryIO


class JsonLinesExporter:
    """Whole after every line."""

    def open(self, stream: BinaryIO) -> None:
        """There is nothing before the first line."""
        self._stream = stream

    def write(self, line: bytes) -> None:
        """Add one line."""
        self._stream.write(line + b"\n")

    def close(self) -> None:
        """There is nothing after the last line."""
