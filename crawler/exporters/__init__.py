"""Items -> bytes of one format. A format is one small class in a module of its own.

Items come as they stand in the run's `items.jsonl`: each a line of JSON, which most formats of
lines can take as it is. A format that must know all items before it writes the first is a `Table`
(see `crawler.exporters.table`): it is shown each line before `open`.
"""

from __future__ import annotations

import importlib
from typing import Any, BinaryIO, Protocol

from crawler.errors import UsageError

FORMATS = {
    "json": "crawler.exporters.json:JsonExporter",
    "jsonl": "crawler.exporters.jsonl:JsonLinesExporter",
    "csv": "crawler.exporters.csv:CsvExporter",
    "xml": "crawler.exporters.xml:XmlExporter",
    "md": "crawler.exporters.md:MarkdownExporter",
    "sqlite": "crawler.exporters.sqlite:SqliteExporter",
    "parquet": "crawler.exporters.parquet:ParquetExporter",
}
TABLES = frozenset({"csv", "md", "sqlite", "parquet"})
"""Formats that must know all items before they write the first."""
EXTRAS = {"parquet": "parquet"}
"""The extra that a format needs."""
SUFFIXES = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jl": "jsonl",
    ".csv": "csv",
    ".xml": "xml",
    ".md": "md",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
    ".parquet": "parquet",
}


class Exporter(Protocol):
    """Writes items to a binary stream that somebody else opens and closes.

    Raises OSError when the stream can't be written, or when the format can't hold the items.
    """

    def open(self, stream: BinaryIO) -> None:
        """Begin the document."""
        ...

    def write(self, line: bytes) -> None:
        """Add one item: a JSON object in UTF-8, without a line end."""
        ...

    def close(self) -> None:
        """Complete the document."""
        ...


def make_exporter(format_name: str, **options: Any) -> Exporter:
    """The exporter of a format in FORMATS; `options` are those of its class.

    Raises UsageError when a package that it needs is not installed.
    """
    module_name, _, class_name = FORMATS[format_name].partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        if format_name not in EXTRAS:
            raise
        raise UsageError(missing(f"the format {format_name}", EXTRAS[format_name], error)) from None
    exporter: Exporter = getattr(module, class_name)(**options)
    return exporter


def missing(what: str, extra: str, error: ImportError) -> str:
    """What to say when a package of an extra is not there."""
    return f"{what} needs {error.name or error}: pip install 'crawl-in-order[{extra}]'"
