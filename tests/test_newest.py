"""`--key`: one item for each value of a field, the last one, whatever the format."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import crawl, spider_file
from crawler.demo import PracticeSite
from crawler.newest import last_of_each
from crawler.output import parse_target, publish_items
from crawler.table_name import alike, table_of
from test_exporters import NAMES, read_sqlite, scalar, sqlite_cell, sqlite_tables

Item = dict[str, Any]


def line(item: Item) -> bytes:
    return json.dumps(item, ensure_ascii=False).encode()


def newest(items: list[Item], key: str = "id") -> list[Item]:
    lines = last_of_each(lambda: map(line, items), key)
    found = [list(map(json.loads, lines())) for _ in range(2)]
    assert found[0] == found[1], "the same each time"
    return found[0]


def test_the_last_item_of_a_key_stays_in_its_place() -> None:
    items: list[Item] = [
        {"id": 1, "a": 1},
        {"id": 2},
        {"a": 3},
        {"id": 1, "b": 2},
        {"id": None},
        {"a": 3},
    ]
    assert newest(items) == items[1:]


def test_without_a_key_nothing_is_read_beforehand() -> None:
    def lines() -> Any:
        raise AssertionError

    assert last_of_each(lines, None) is lines


def test_that_no_item_has_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert newest([{"a": 1}], key="idd") == [{"a": 1}]
    assert caplog.messages == ["no item has the field idd, so all of them stay"]
    caplog.clear()
    assert newest([]) == []
    assert not caplog.messages


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (1, 1.0, True),
        (1, True, True),
        (0.0, -0.0, True),
        (1, "1", False),
        (2**53, 2**53 + 1, False),
        (2**63 - 1, 2.0**63, False),
        (2**70, str(2**70), True),
        ("a", "A", False),
        ([1], "[1]", True),
    ],
)
def test_values_are_the_same_if_sqlite_takes_them_for_the_same(
    one: object, other: object, is_same: bool
) -> None:
    assert len(newest([{"id": one}, {"id": other}])) == (1 if is_same else 2)


few = st.sampled_from([0, 1, 1.0, True, "1", "", 2**53, float(2**53), [1], "[1]", 2**70, 1e22])


@given(st.lists(st.fixed_dictionaries({}, optional={"id": few | scalar, "n": st.integers(0, 3)})))
def test_a_table_of_sqlite_takes_them_all(items: list[Item]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.sqlite"
        publish_items(lambda: list(map(line, items)), parse_target(str(path), key="id"))
        columns, rows = read_sqlite(path.read_bytes())
    expected = newest(items)
    names = [name for name, _ in columns]
    made = [tuple(sqlite_cell(item.get(name)) for name in names) for item in expected]
    assert rows == (made if names else [])


def test_in_sqlite_it_is_the_primary_key_and_the_order_stays(tmp_path: Path) -> None:
    path = tmp_path / "items.sqlite"
    items = [{"n": 1, "id": 9}, {"n": 2, "id": 3}, {"n": 3, "id": 9}]
    publish_items(lambda: list(map(line, items)), parse_target(str(path), key="id"))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM items").fetchall() == [(2, 3), (3, 9)]
        (row,) = [r for r in database.execute("PRAGMA table_info(items)") if r[1] == "id"]
        assert row[5] == 1
        with pytest.raises(sqlite3.IntegrityError):
            database.execute("INSERT INTO items VALUES (4, 3)")


KINDS: list[Item] = [
    {"type": "post", "id": 1, "n": 1},
    {"type": "author", "id": 1, "n": 2},
    {"type": "Post", "id": 1, "n": 3},
    {"type": 5, "id": 1, "n": 4},
    {"id": 1, "n": 5},
]


def test_each_table_has_keys_of_its_own_in_every_format(tmp_path: Path) -> None:
    for name in ("items.json", "items.sqlite"):
        target = parse_target(str(tmp_path / name), key="id", table="type")
        publish_items(lambda: list(map(line, KINDS)), target)
    expected = [KINDS[1], KINDS[2], KINDS[4]]
    assert json.loads((tmp_path / "items.json").read_bytes()) == expected
    found = sqlite_tables((tmp_path / "items.sqlite").read_bytes())
    assert found == {"author": [expected[0]], "Post": [expected[1]], "items": [expected[2]]}


@given(
    st.lists(
        st.fixed_dictionaries(
            {}, optional={"id": few, "type": st.sampled_from([*NAMES]), "n": st.integers(0, 3)}
        )
    )
)
def test_several_tables_of_sqlite_take_them_all(items: list[Item]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.sqlite"
        target = parse_target(str(path), key="id", table="type")
        publish_items(lambda: list(map(line, items)), target)
        found = sqlite_tables(path.read_bytes())
    left = list(map(json.loads, last_of_each(lambda: map(line, items), "id", "type")()))
    if not any(alike(table_of(item, "type")) == "items" and item for item in left):
        left = list(filter(None, left))  # items without any names make no table
    assert sum(map(len, found.values())) == len(left)


def test_a_crawl_takes_the_table_from_its_settings(tmp_cwd: Path, site: PracticeSite) -> None:
    body = f"@spider(key='id')\ndef posts(response):\n    return {KINDS}\n"
    spider_file(tmp_cwd / "posts.py", body)
    ask = ("run", "posts.py", "--urls", f"{site.url}/headers", "-o", "posts.db", "--table", "type")
    assert crawl(*ask).returncode == 0
    assert sqlite_tables(Path("posts.db").read_bytes()).keys() == {"author", "Post", "items"}
    Path("crawl.toml").write_text('table = "type"\nkey = "id"\n')
    assert crawl("export", "posts", "-o", "again.db").returncode == 0
    assert Path("again.db").read_bytes() == Path("posts.db").read_bytes()


def test_of_a_crawl_all_outputs_have_them(tmp_cwd: Path, site: PracticeSite) -> None:
    spider_file(
        tmp_cwd / "posts.py",
        "@spider()\ndef posts(response):\n"
        "    number = int(response.url[-1])\n"
        "    return [{'id': number % 2, 'n': number}, {'n': 0}]\n",
    )
    done = crawl(
        *("run", "posts.py", "--urls", f"{site.url}/headers?{{1..4}}", "--key", "id"),
        *("-o", "-:jsonl", "-o", "posts.json", "-o", "posts.sqlite"),
    )
    assert done.returncode == 0, done.stderr
    expected = [{"n": 0}, {"n": 0}, {"id": 1, "n": 3}, {"n": 0}, {"id": 0, "n": 4}, {"n": 0}]
    assert list(map(json.loads, done.stdout.splitlines())) == expected
    assert json.loads(Path("posts.json").read_bytes()) == expected
    assert crawl("export", "posts", "-o", "all.csv").returncode == 0
    assert Path("all.csv").read_text().count("\n") == 9
    assert crawl("export", "posts", "-o", "few.csv", "--key=id").returncode == 0
    assert Path("few.csv").read_text() == "n,id\n0,\n0,\n3,1\n0,\n4,0\n0,\n"
