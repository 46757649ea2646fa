"""Each format gives back the items that went in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.exporters import FORMATS, SUFFIXES, make_exporter

Item = dict[str, Any]


def read_lines(document: bytes) -> list[Item]:
    return [json.loads(line) for line in document.split(b"\n")[:-1]]


READERS: dict[str, Callable[[bytes], list[Item]]] = {"json": json.loads, "jsonl": read_lines}

value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
items_of_any_kind = st.lists(st.dictionaries(st.text(), value, max_size=4), max_size=5)


def line_of(item: Item) -> bytes:
    return json.dumps(item, ensure_ascii=False).encode()


def export(format_name: str, items: list[Item]) -> bytes:
    stream = io.BytesIO()
    exporter = make_exporter(format_name)
    exporter.open(stream)
    for item in items:
        exporter.write(line_of(item))
    exporter.close()
    assert not stream.closed  # whoever opened it closes it
    return stream.getvalue()


def test_every_format_is_tested_and_has_a_suffix() -> None:
    assert set(READERS) == set(FORMATS) == set(SUFFIXES.values())


@pytest.mark.parametrize("format_name", FORMATS)
@given(items=items_of_any_kind)
def test_what_is_read_is_what_was_written(format_name: str, items: list[Item]) -> None:
    assert READERS[format_name](export(format_name, items)) == items


@pytest.mark.parametrize(
    ("format_name", "items", "document"),
    [
        ("json", [], b"[]\n"),
        ("json", [{"a": 1}], b'[\n{"a": 1}\n]\n'),
        ("json", [{"a": "汉"}, {}], b'[\n{"a": "\xe6\xb1\x89"},\n{}\n]\n'),
        ("jsonl", [], b""),
        ("jsonl", [{"a": "汉\n"}, {}], b'{"a": "\xe6\xb1\x89\\n"}\n{}\n'),
    ],
)
def test_documents(format_name: str, items: list[Item], document: bytes) -> None:
    assert export(format_name, items) == document


@pytest.mark.parametrize("format_name", FORMATS)
@given(items=items_of_any_kind)
def test_an_item_is_a_line(format_name: str, items: list[Item]) -> None:
    found = export(format_name, items).split(b"\n")
    assert sum(line.startswith(b"{") for line in found) == len(items)


def test_json_lines_can_be_read_while_they_are_written() -> None:
    stream = io.BytesIO()
    exporter = make_exporter("jsonl")
    exporter.open(stream)
    for number in range(3):
        exporter.write(line_of({"n": number}))
        assert len(read_lines(stream.getvalue())) == number + 1
