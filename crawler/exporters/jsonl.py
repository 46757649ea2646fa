"""JSON Lines, UTF-8: one item a line, so that it can be followed while it grows (jsonlines.org)."""

from __future__ import annotations

import json
from typing import BinaryIO

from crawler.result import Item


class JsonLinesExporter:
    """Whole after every line."""

    def open(self, stream: BinaryIO) -> None:
        """There is nothing before the first line."""
        self._stream = stream

    def write(self, item: Item) -> None:
        """Add one line."""
        self._stream.write(json.dumps(item, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        """There is nothing after the last line."""
