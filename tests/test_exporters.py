"""Each format gives back the items that went in, in their order; tables what a table can hold."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from conftest import told
from crawler.errors import UsageError
from crawler.exporters import EXTRAS, FORMATS, SUFFIXES, TABLES, make_exporter
from crawler.exporters.sqlite import MAX_TABLES
from crawler.exporters.table import MAX_COLUMNS, Table
from crawler.table_name import alike

Item = dict[str, Any]


def is_installed(format_name: str) -> bool:
    try:
        make_exporter(format_name)
    except UsageError:
        return False
    return True


def needed(name: str) -> Any:
    """The format, for a test that is left out where its package is missing."""
    reason = f"the extra {EXTRAS.get(name)!r} is not installed"
    return pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=reason))


ALL = [needed(name) for name in FORMATS]
WHOLE = ["json", "jsonl", "xml"]
"""Formats that hold items as they are."""

SURROGATES = st.characters(exclude_categories=["Cs"])
text = st.text(SURROGATES)
# What formats trip over.
text |= st.text(st.sampled_from("=+-@'\",;|\\`*_~[]<>&#!.\t\r\n 0汉\x00\x0b\x85\u2028\ufeff😀"))
scalar = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30])
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
value = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
items_of_any_kind = st.lists(st.dictionaries(text, value, max_size=4), max_size=5)
# Few names, so that columns hold several kinds.
few_names = st.sampled_from(["a", "b", "c", "A", 'a"b', "", "汉 字", "rowid"])
rows_of_any_kind = st.lists(st.dictionaries(few_names, value, max_size=4), max_size=6)
kinds = [st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(-1e300, 1e300), text]
rows_of_one_kind = st.sampled_from(kinds).flatmap(
    lambda kind: st.lists(st.dictionaries(few_names, kind | st.none(), max_size=4), max_size=6)
)
rows = rows_of_any_kind | rows_of_one_kind | items_of_any_kind


def line_of(item: Item) -> bytes:
    return json.dumps(item, ensure_ascii=False).encode()


def export(format_name: str, items: list[Item], **options: bool | str) -> bytes:
    stream = io.BytesIO()
    exporter = make_exporter(format_name, **options)
    if isinstance(exporter, Table):
        for item in items:
            exporter.survey(line_of(item))
    exporter.open(stream)
    for item in items:
        exporter.write(line_of(item))
    exporter.close()
    assert not stream.closed  # whoever opened it closes it
    return stream.getvalue()


def columns_of(items: list[Item]) -> list[str]:
    return list(dict.fromkeys(name for item in items for name in item))


def json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def cell(value: object) -> str:
    """A value as it stands in a table that is text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json_text(value)


def table_of(items: list[Item]) -> list[list[str]]:
    columns = columns_of(items)
    return [columns, *([cell(item.get(name)) for name in columns] for item in items)]


def test_every_format_has_a_suffix() -> None:
    assert set(FORMATS) == set(SUFFIXES.values())


@pytest.mark.parametrize("format_name", ALL)
def test_tables_are_those_that_must_know_all_items(format_name: str) -> None:
    assert isinstance(make_exporter(format_name), Table) == (format_name in TABLES)


def test_a_missing_package_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "crawler.exporters.parquet", raising=False)
    with pytest.raises(UsageError) as caught:
        make_exporter("parquet")
    assert str(caught.value) == (
        "the format parquet needs pyarrow: pip install 'crawl-in-order[parquet]'"
    )


# ---- JSON, JSON Lines, XML: what is read is what was written ----


def read_lines(document: bytes) -> list[Item]:
    return [json.loads(line) for line in document.split(b"\n")[:-1]]


def held(text: str) -> str:
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", text)


def read_element(element: Any) -> Any:
    match element.get("type"):
        case None:
            return element.text or ""
        case "null":
            return None
        case "list":
            return [read_element(each) for each in element]
        case "object":
            return {each.get("name", each.tag): read_element(each) for each in element}
        case _:
            return json.loads(element.text)


def read_xml(document: bytes) -> list[Item]:
    return [
        {each.get("name", each.tag): read_element(each) for each in item}
        for item in ElementTree.fromstring(document)
    ]


def as_xml_holds(value: Any) -> Any:
    if isinstance(value, str):
        return held(value)
    if isinstance(value, list):
        return [as_xml_holds(each) for each in value]
    if isinstance(value, dict):
        return {held(key): as_xml_holds(each) for key, each in value.items()}
    return value


READERS: dict[str, Callable[[bytes], list[Item]]] = {
    "json": json.loads,
    "jsonl": read_lines,
    "xml": read_xml,
}


@pytest.mark.parametrize("format_name", WHOLE)
@given(items=items_of_any_kind)
def test_what_is_read_is_what_was_written(format_name: str, items: list[Item]) -> None:
    expected = [as_xml_holds(item) for item in items] if format_name == "xml" else items
    assert READERS[format_name](export(format_name, items)) == expected


@pytest.mark.parametrize(
    ("format_name", "items", "document"),
    [
        ("json", [], b"[]\n"),
        ("json", [{"a": 1}], b'[\n{"a": 1}\n]\n'),
        ("json", [{"a": "汉"}, {}], b'[\n{"a": "\xe6\xb1\x89"},\n{}\n]\n'),
        ("jsonl", [], b""),
        ("jsonl", [{"a": "汉\n"}, {}], b'{"a": "\xe6\xb1\x89\\n"}\n{}\n'),
        ("csv", [], b""),
        ("csv", [{"a": 1}, {"b": "汉"}], b"a,b\r\n1,\r\n,\xe6\xb1\x89\r\n"),
        ("csv", [{"a": True, "b": [1, None], "c": None}], b'a,b,c\r\ntrue,"[1, null]",\r\n'),
        ("md", [], b""),
        (
            "md",
            [{"a": 1}, {"b": "x|y\nz"}],
            b"| a | b |\n| --- | --- |\n| 1 |  |\n|  | x\\|y<br>z |\n",
        ),
        (
            "xml",
            [{"a": "<&>", "b": 1.5, "c d": [None, True]}],
            (
                b'<?xml version="1.0" encoding="UTF-8"?>\n<items>\n'
                b'<item><a>&lt;&amp;&gt;</a><b type="number">1.5</b><field name="c d" type="list">'
                b'<value type="null"/><value type="boolean">true</value></field></item>\n'
                b"</items>\n"
            ),
        ),
    ],
)
def test_documents(format_name: str, items: list[Item], document: bytes) -> None:
    assert export(format_name, items) == document


@pytest.mark.parametrize("format_name", ["json", "jsonl"])
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


# ---- CSV ----


def read_csv(document: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(document.decode(), newline="")))


@given(items=rows)
def test_csv_is_read_as_it_was_written(items: list[Item]) -> None:
    expected = table_of(items) if columns_of(items) else []
    assert read_csv(export("csv", items)) == expected


def test_csv_may_begin_with_a_byte_order_mark() -> None:
    assert export("csv", [{"汉": 1}], bom=True) == "汉\r\n1\r\n".encode("utf-8-sig")


@given(items=rows)
def test_t5_safe_csv_has_no_formulas_and_the_same_numbers(items: list[Item]) -> None:
    expected = table_of(items) if columns_of(items) else []
    found = read_csv(export("csv", items, safe=True))
    names = columns_of(items)
    typed: list[list[Any]] = [names, *([item.get(name) for name in names] for item in items)]
    for row, before, values in zip(found, expected, typed, strict=False):
        for now, was, value in zip(row, before, values, strict=True):
            is_formula = isinstance(value, str) and value[:1] in list("=+-@\t\r\n")
            assert now == (f"'{was}" if is_formula else was)


def test_t5_numbers_stay_numbers() -> None:
    item = {"=a": '=HYPERLINK("http://x")', "b": -3.5, "c": "-3.5", "d": -3, "e": ["="]}
    assert read_csv(export("csv", [item], safe=True)) == [
        ["'=a", "b", "c", "d", "e"],
        ['\'=HYPERLINK("http://x")', "-3.5", "'-3.5", "-3", '["="]'],
    ]
    assert read_csv(export("csv", [item]))[1][0] == '=HYPERLINK("http://x")'


# ---- Markdown ----


def read_md(document: bytes) -> list[list[str]]:
    parsed = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    found: list[list[str]] = []
    for token in parsed.parse(document.decode()):
        if token.type == "tr_open":
            found.append([])
        elif token.type == "inline":
            for each in token.children or []:
                assert each.type in ("text", "text_special", "html_inline"), each
                assert each.type != "html_inline" or each.content == "<br>"
            content = ("\n" if e.type == "html_inline" else e.content for e in token.children or [])
            found[-1].append("".join(content))
    return found


def as_md_holds(text: str) -> str:
    """Line ends are alike, space around a cell or a line of it is lost, and so is NUL."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd").split("\n")
    return "\n".join(lines).strip()


@given(items=rows)
def test_markdown_shows_what_was_written(items: list[Item]) -> None:
    expected = [list(map(as_md_holds, row)) for row in table_of(items)] if columns_of(items) else []
    assert [list(map(as_md_holds, row)) for row in read_md(export("md", items))] == expected


def test_urls_stay_whole_in_markdown() -> None:
    url = "https://x.test/~user/a_b?c=1&d=2#e"
    assert f"| {url} |".encode() in export("md", [{"url": url}])


# ---- SQLite ----


def read_sqlite(document: bytes) -> tuple[list[tuple[str, str]], list[tuple[Any, ...]]]:
    """The columns, each with its type, and the rows."""
    database = sqlite3.connect(":memory:")
    database.deserialize(document)
    columns = [(name, kind) for _, name, kind, *_ in database.execute("PRAGMA table_info(items)")]
    found = database.execute("SELECT * FROM items").fetchall() if columns else []
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    return columns, found


def sqlite_tables(document: bytes) -> dict[str, list[Item]]:
    """The rows of each table, without cells that are empty."""
    database = sqlite3.connect(":memory:")
    database.deserialize(document)
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE sql <> ''")]
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found = {}
    for name in names:
        quoted = name.replace('"', '""')
        rows = database.execute(f'SELECT * FROM "{quoted}" ORDER BY rowid')
        columns = [column for column, *_ in rows.description]
        found[name] = [
            {c: cell for c, cell in zip(columns, row, strict=True) if cell is not None}
            for row in rows
        ]
    database.close()
    return found


def sqlite_cell(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return json_text(value) if isinstance(value, (list, dict)) else value


@given(items=rows)
def test_sqlite_holds_what_was_written(items: list[Item]) -> None:
    columns, found = read_sqlite(export("sqlite", items))
    names = columns_of(items)
    expected = [tuple(sqlite_cell(item.get(name)) for name in names) for item in items]
    assert found == (expected if names else [])
    for (_, kind), values in zip(columns, zip(*found, strict=True), strict=False):
        if kind:
            types = {"INTEGER": int, "REAL": float, "TEXT": str}
            assert all(value is None or isinstance(value, types[kind]) for value in values)
    assert len({alike(name) for name, _ in columns}) == len(names) or not items
    unlike = [name for name in names if sum(alike(n) == alike(name) for n in names) == 1]
    assert {name for name, _ in columns} >= {name.replace("\0", "\ufffd") for name in unlike}


def test_sqlite_has_types_and_names_that_differ() -> None:
    columns, found = read_sqlite(
        export(
            "sqlite",
            [
                {"a": 1, "A": "x", "b": 1, "c": True, "d": [1], "e": 1},
                {"a": None, "b": 2.5, "c": 3, "e": "1", "f": 2**70, 'g"\0': None},
            ],
        )
    )
    assert columns == [
        ("a", "INTEGER"),
        ("A_2", "TEXT"),
        ("b", "REAL"),
        ("c", "INTEGER"),
        ("d", "TEXT"),
        ("e", ""),
        ("f", "TEXT"),
        ('g"\ufffd', "INTEGER"),
    ]
    assert found == [
        (1, "x", 1.0, 1, "[1]", 1, None, None),
        (None, None, 2.5, 3, None, "1", "1180591620717411303424", None),
    ]


def test_sqlite_gives_numbers_to_names_that_it_takes_for_the_same_alone() -> None:
    items = [{"K": 3, "k": 4, "k_2": 5, "K_3": 6, "É": 7, "é": 8}, {"k\0": 9, "k\ufffd": 10}]
    columns, found = read_sqlite(export("sqlite", items))
    assert [name for name, _ in columns] == ["K", "k_4", "k_2", "K_3", "É", "é", "k�", "k�_2"]
    assert found == [(3, 4, 5, 6, 7, 8, None, None), (*[None] * 6, 9, 10)]


def test_a_field_names_the_tables_and_each_has_columns_of_its_own() -> None:
    items: list[Item] = [
        {"type": "post", "id": 1, "title": "a"},
        {"type": "author", "id": 1, "name": "b"},
        {"type": "post", "id": 2, "title": "c"},
        {"id": 3, "tags": []},
    ]
    document = export("sqlite", items, table="type", key="id")
    assert sqlite_tables(document) == {
        "post": [items[0], items[2]],
        "author": [items[1]],
        "items": [{"id": 3, "tags": "[]"}],
    }
    database = sqlite3.connect(":memory:")
    database.deserialize(document)
    for name, columns in (("post", "type id title"), ("author", "type id name")):
        info = database.execute(f"PRAGMA table_info({name})").fetchall()
        assert [column[1] for column in info] == columns.split()
        assert [column[5] for column in info] == [0, 1, 0], "the id is the primary key of each"
    database.close()


NAMES = {
    "post": "post",
    "Post": "post",
    "POST": "post",
    "Ärger": "Ärger",
    "ärger": "ärger",
    'a"b; DROP TABLE post': 'a"b; DROP TABLE post',
    "select": "select",
    "汉 字": "汉 字",
    " ": " ",
    "a\0b": "a\ufffdb",
    "sqlite_master": "items",
    "SQLite_x": "items",
    "sqlite": "sqlite",
    "": "items",
    None: "items",
    5: "items",
    "Items": "items",
}


def test_any_text_names_a_table_and_all_else_goes_to_items() -> None:
    items: list[Item] = [
        {"n": 0},
        *({"n": number, "type": name} for number, name in enumerate(NAMES, 1)),
    ]
    found = {
        row["n"]: name
        for name, rows in sqlite_tables(export("sqlite", items, table="type")).items()
        for row in rows
    }
    assert found == dict(enumerate(["items", *NAMES.values()]))


few_tables = st.sampled_from([*NAMES, ["post"]])


@given(
    st.lists(
        st.fixed_dictionaries({}, optional={"type": few_tables, "a": value, "b": st.integers(0, 9)})
    )
)
def test_all_rows_are_there_each_in_its_table_and_in_order(items: list[Item]) -> None:
    expected: dict[str, list[Item]] = {}
    for item in items:
        name = item.get("type")
        table = NAMES.get(name, "items") if not isinstance(name, list) else "items"
        cells = {key: sqlite_cell(each) for key, each in item.items() if each is not None}
        expected.setdefault(table.lower() if table.isascii() else table, []).append(cells)
    found = sqlite_tables(export("sqlite", items, table="type"))
    found = {name.lower() if name.isascii() else name: rows for name, rows in found.items()}
    # Items without any names make no table.
    assert found == {name: rows for name, rows in expected.items() if name in found}
    assert not any(any(rows) for name, rows in expected.items() if name not in found)
    assert export("sqlite", items, table="type") == export("sqlite", items, table="type")


def test_texts_that_are_no_kinds_are_no_tables() -> None:
    items = [{"title": f"{number}"} for number in range(MAX_TABLES + 1)]
    assert len(sqlite_tables(export("sqlite", items[:-1], table="title"))) == MAX_TABLES
    with pytest.raises(OSError, match="over 500 tables, one for each different title"):
        export("sqlite", items, table="title")


def test_that_no_item_names_a_table_is_told(caplog: pytest.LogCaptureFixture) -> None:
    export("sqlite", [], table="kind")
    export("sqlite", [{"kind": "a"}, {}], table="kind")
    assert not caplog.messages
    assert sqlite_tables(export("sqlite", [{"kind": 1}], table="kind")) == {"items": [{"kind": 1}]}
    assert caplog.messages == ["no item has text in kind, so all are in the table items"]


# ---- Parquet ----


def read_parquet(document: bytes) -> Any:
    return pytest.importorskip("pyarrow.parquet").read_table(io.BytesIO(document))


@pytest.mark.parametrize("format_name", [needed("parquet")])
@given(items=rows)
def test_parquet_holds_what_was_written(format_name: str, items: list[Item]) -> None:
    table = read_parquet(export(format_name, items))
    names = columns_of(items)
    assert table.column_names == names
    for index, name in enumerate(names):
        values = [item.get(name) for item in items]
        kinds = {type(value) for value in values} - {type(None)}
        is_long = any(isinstance(v, int) and abs(v) > 2**53 for v in values)
        is_huge = any(isinstance(v, int) and not -(2**63) <= v < 2**63 for v in values)
        found = table.column(index).to_pylist()
        if kinds <= {str} or kinds <= {bool} or (kinds <= {int} and not is_huge):
            assert found == values
            assert {type(value) for value in found} - {type(None)} == kinds
        elif kinds <= {int, float} and not is_long:
            assert found == values
            assert {type(value) for value in found} <= {type(None), float}
        else:
            assert [None if v is None else json.loads(v) for v in found] == values


@pytest.mark.parametrize("format_name", [needed("parquet")])
def test_parquet_is_written_in_row_groups(format_name: str) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    items = [{"n": number, "t": "x" * 1_000} for number in range(40_000)]
    file = pq.ParquetFile(io.BytesIO(export(format_name, items)))
    assert file.metadata.num_row_groups == 2
    assert file.read().column("n").to_pylist() == list(range(40_000))
    items = [{"n": number, "t": "x" * 1_000_000} for number in range(100)]
    file = pq.ParquetFile(io.BytesIO(export(format_name, items)))
    assert file.metadata.num_row_groups == 3
    assert file.read().column("n").to_pylist() == list(range(100))


# ---- All of them ----


@pytest.mark.parametrize("format_name", ALL)
@given(items=rows)
def test_the_same_items_give_the_same_bytes(format_name: str, items: list[Item]) -> None:
    assert export(format_name, items) == export(format_name, items)


@pytest.mark.parametrize("format_name", ALL)
def test_keys_that_are_data_are_no_columns(format_name: str) -> None:
    items = [{f"{number}": number} for number in range(MAX_COLUMNS + 1)]
    if format_name not in TABLES:
        assert export(format_name, items)
        return
    with pytest.raises(OSError, match="a table of over 2,000 columns"):
        export(format_name, items)
    assert export(format_name, items[:-1])


FLAT = """
import sys
from psutil import Process
from crawler.output import parse_target, publish_items

def lines(count, size):
    for n in range(count):
        if n % 500 == 0 or count < 500:
            seen.append(Process().memory_info().rss)
        yield b'{"n": %d, "title": "%s", "tags": ["a", "b"], "k": "%d"}' % (n, b"x" * size, n % 50)

seen = []
name, table, count, size = sys.argv[1:]
publish_items(lambda: lines(2_000, 400), parse_target(name, table=table))
before = max(seen)
publish_items(lambda: lines(int(count), int(size)), parse_target(name, table=table))
print((max(seen) - before) // 2**20)
"""


@pytest.mark.parametrize(
    ("suffix", "table", "count", "size"),
    [
        ("csv.gz", "", 200_000, 400),
        ("sqlite", "", 200_000, 400),
        ("sqlite", "k", 200_000, 400),
        ("sqlite", "", 200, 400_000),
        pytest.param("parquet", "", 200_000, 400, marks=needed("parquet").marks),
    ],
)
def test_memory_does_not_grow_with_the_items(
    suffix: str, table: str, count: int, size: int, tmp_path: Path
) -> None:
    """80 MB as lines; 200,000 items are some 250 MB as Python objects."""
    given = [str(tmp_path / f"items.{suffix}"), table, str(count), str(size)]
    command = [sys.executable, "-c", FLAT, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    grown = int(done.stdout)
    told.append(f"memory for {count:,} items as {suffix}{table and ', 50 tables'}: +{grown} MB")
    # A row group of 32 MB, once as columns and once as a file.
    assert grown < (120 if suffix == "parquet" else 12)
