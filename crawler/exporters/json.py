"""A JSON array, UTF-8, one item a line: valid as a whole, and readable with line tools too."""

from __future__ import annotations

from typing import BinaryIO


class JsonExporter:
    """Written as it comes; whole only after `close`."""

    def open(self, stream: BinaryIO) -> None:
        """Begin the array."""
        self._stream = stream
        self._separator = b"["

    def write(self, line: bytes) -> None:
        """Add one item."""
        self._stream.write(self._separator + b"\n" + line)
        self._separator = b","

    def close(self) -> None:
        """Close the array."""
        self._stream.write(b"[]\n" if self._separator == b"[" else b"\n]\n")
