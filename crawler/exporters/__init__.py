"""Items -> bytes of one format. A format is one small class in a module of its own."""

from __future__ import annotations

import importlib
from typing import BinaryIO, Protocol

from crawler.result import Item

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

    def write(self, item: Item) -> None:
        """Add one item."""
        ...

    def close(self) -> None:
        """Complete the document."""
        ...


def make_exporter(format_name: str) -> Exporter:
    """The exporter of a format in FORMATS."""
    module_name, _, class_name = FORMATS[format_name].partition(":")
    exporter: Exporter = getattr(importlib.import_module(module_name), class_name)()
    return exporter
