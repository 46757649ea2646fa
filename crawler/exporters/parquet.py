"""Parquet, by pyarrow, written in row groups while the items are read.

Columns are bool, int64, double or string. One that holds lists, dicts, several kinds, or integers
beyond 64 bits is JSON text in every cell: also its strings have quotes. So is one of floats and
integers that a double would change.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import pyarrow
from pyarrow import parquet

from crawler.exporters.table import BOOLEAN, FLOAT, INTEGER, LONG, TEXT, TypedTable
from crawler.lines import item_of, json_text

_BATCH = 1_000  # rows that are Python objects at a time,
_BATCH_BYTES = 1024 * 1024  # and of their lines
_GROUP_ROWS = 100_000
_GROUP_BYTES = 32 * 1024 * 1024


class ParquetExporter(TypedTable):
    """A row group is at most 100,000 rows or 32 MiB; so much is held in memory."""

    def open(self, stream: BinaryIO) -> None:
        """Choose the types."""
        self._is_json = [_type(kind) is None for kind in self.columns.values()]
        self._schema = pyarrow.schema(
            [(name, _type(kind) or pyarrow.string()) for name, kind in self.columns.items()]
        )
        self._writer = parquet.ParquetWriter(stream, self._schema, compression="zstd")
        self._rows: list[list[Any]] = []
        self._size = 0
        self._batches: list[Any] = []

    def write(self, line: bytes) -> None:
        """Add one row."""
        self._rows.append(list(map(item_of(line).get, self.columns)))
        self._size += len(line)
        if len(self._rows) == _BATCH or self._size >= _BATCH_BYTES:
            self._pack()
            rows = sum(batch.num_rows for batch in self._batches)
            size = sum(batch.nbytes for batch in self._batches)
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                self._flush()

    def close(self) -> None:
        """Write what is left, and the footer."""
        self._pack()
        self._flush()
        self._writer.close()

    def _pack(self) -> None:
        """Make the rows a batch of columns, which takes a tenth of the memory."""
        arrays = [
            pyarrow.array(map(_text, values) if is_json else values, field.type)
            for values, is_json, field in zip(
                zip(*self._rows, strict=True), self._is_json, self._schema, strict=False
            )
        ]
        if arrays:
            self._batches.append(pyarrow.record_batch(arrays, schema=self._schema))
        self._rows.clear()
        self._size = 0

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(pyarrow.Table.from_batches(self._batches))
        self._batches.clear()


def _type(kind: int) -> Any:
    """A column's type; None if it has to be JSON text."""
    if kind & ~TEXT == 0:
        return pyarrow.string()
    if kind & ~BOOLEAN == 0:
        return pyarrow.bool_()
    if kind & ~(INTEGER | LONG) == 0:
        return pyarrow.int64()
    return pyarrow.float64() if kind & ~(INTEGER | FLOAT) == 0 else None


def _text(value: object) -> str | None:
    return None if value is None else json_text(value)
