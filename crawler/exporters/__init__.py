"""Items -> bytes of one format. A format is one small class in a module of its own.

Items come as they stand in the run's `items.jsonl`: each a line of JSON, which most formats of
lines can take as it is.
"""

from __future__ import annotations

import importlib
from typing import BinaryIO, Protocol

FORMATS = {
    "json": "crawler.exporters.json:JsonExporter",
    "jsonl": "crawler.exporters.jsonl:JsonLinesExporter",
}
SUFFIXES = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".jl": "jsonl"}


class Exporter(Protocol):
    """Writes items to a binary stream that somebody else opens and closes."""

    def open(self, stream: BinaryIO) -> None:
        """Begin the document."""
        ...

    def write(self, line: bytes) -> None:
        """Add one item: a JSON object in UTF-8, without a line end."""
        ...

    def close(self) -> None:
        """Complete the document."""
        ...


def make_exporter(format_name: str) -> Exporter:
    """The exporter of a format in FORMATS."""
    module_name, _, class_name = FORMATS[format_name].partition(":")
    exporter: Exporter = getattr(importlib.import_module(module_name), class_name)()
    return exporter
