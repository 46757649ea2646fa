"""`crawl export`: the items of runs and files, chosen, sorted and written in other formats."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from command_line import crawl
from crawler.cli import crawl as command
from crawler.cli.export import _order
from crawler.errors import OutputError, UsageError
from crawler.run_folder import RunFolder
from test_exporters import sqlite_tables

ITEMS: list[dict[str, Any]] = [
    {"n": 3, "title": "c", "tags": ["x"]},
    {"n": 1, "title": "a"},
    {"n": 2, "title": "=b", "tags": []},
    {"n": 1, "title": "d", "votes": 7},
]

needs_zstandard = pytest.mark.skipif(find_spec("zstandard") is None, reason="zstandard is missing")


def export(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["export", *arguments], catch_exceptions=False)


def exported(*arguments: str) -> Any:
    export(*arguments, "-o", "out.json")
    return json.loads(Path("out.json").read_bytes())


def a_run(name: str, items: list[dict[str, Any]], state: str | None = "finished") -> RunFolder:
    """A run with items; it is at work if it has no state."""
    folder = RunFolder.create(Path("output"), name)
    folder.items.append(json.dumps(item, ensure_ascii=False).encode() for item in items)
    folder.sync()
    if state is not None:
        folder.close(state, {})
    return folder


@pytest.fixture
def here(tmp_cwd: Path) -> Path:
    """A folder with a run of the name `posts`."""
    a_run("posts", ITEMS)
    return tmp_cwd


# ---- What is exported ----


def test_a_run_goes_by_its_name_its_id_or_its_folder(here: Path) -> None:
    (folder,) = here.glob("output/runs/posts/2*")
    for source in ("posts", folder.name, str(folder)):
        assert exported(source) == ITEMS


def test_of_several_runs_the_last_is_taken(here: Path) -> None:
    a_run("posts", [{"n": "new"}], state="stopped")
    assert exported("posts") == [{"n": "new"}]


def test_a_run_at_work_gives_the_whole_lines_that_are_there(here: Path) -> None:
    folder = a_run("live", ITEMS, state=None)
    with (folder.path / "items.jsonl").open("ab") as file:
        file.write(b'{"half": "' + b"x" * 100_000)
    assert exported("live") == ITEMS
    (folder.path / "items.jsonl").write_bytes(b'{"half')
    assert exported("live") == []
    folder.close("failed", {})


def test_a_file_may_be_exported(here: Path) -> None:
    Path("a.json").write_text(json.dumps(ITEMS, indent=4))
    Path("a.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, ITEMS)) + "\r\n")
    assert exported("a.json") == exported("a.jsonl") == ITEMS
    export("a.json", "-o", "a.json:csv")
    assert Path("a.json").read_bytes().startswith(b"n,title,tags,votes\r\n3,c,")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"a": 1}\n[]\n', "a.jsonl, line 2 is no item: []"),
        ('{"a": 1}\n{"a"\n', "a.jsonl, line 2: Expecting"),
        ('{"a": NaN}\n', "a.jsonl, line 1: item['a'] is nan, which JSON can't hold"),
        ('{"a": ' + "9" * 5_000 + "}\n", "a.jsonl, line 1: Exceeds the limit"),
        ('{"a": ' + "[" * 100_000 + "}\n", "a.jsonl, line 1: "),
    ],
    ids=["list", "half", "nan", "digits", "deep"],
)
def test_a_file_of_no_items_is_an_error(here: Path, content: str, complaint: str) -> None:
    Path("a.jsonl").write_text(content)
    with pytest.raises(UsageError) as caught:
        export("a.jsonl", "-o", "out.csv")
    assert complaint in str(caught.value)
    assert not Path("out.csv").exists()


COMPRESSED = ["gz", pytest.param("zst", marks=needs_zstandard)]


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_what_a_crawl_writes_compressed_can_be_read(here: Path, suffix: str) -> None:
    for name in ("a.json", "a.jsonl", "A.JL"):
        export("posts", "-o", f"{name}.{suffix}")
        assert exported(f"{name}.{suffix}") == ITEMS
    lines = Path(f"a.jsonl.{suffix}")
    lines.write_bytes(lines.read_bytes() * 3)  # parts one behind the other are one file
    done = export(str(lines), "-o", "{name}.csv")
    assert done.stderr == "-> a.csv, 12 items\n"


@pytest.mark.parametrize("suffix", COMPRESSED)
@pytest.mark.parametrize("kind", ["json", "jsonl"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: packed[:-1],
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:2],
        lambda packed: b"",
        lambda packed: b"[]" + packed,
        lambda packed: packed + b"garbage",
        lambda packed: packed[:40] + b"?" * 40 + packed[80:],
    ],
    ids=["end", "half", "begin", "empty", "other", "behind", "within"],
)
def test_a_damaged_one_is_an_error(
    here: Path, suffix: str, kind: str, spoil: Callable[[bytes], bytes]
) -> None:
    path = Path(f"a.{kind}.{suffix}")
    a_run("many", [{"n": number, "hash": hash(str(number))} for number in range(20_000)])
    export("many", "-o", str(path))
    path.write_bytes(spoil(path.read_bytes()))
    Path("out.csv").write_text("old")
    with pytest.raises(UsageError, match=rf"^a\.{kind}\.{suffix}(, line \d+: | is damaged: )"):
        export(str(path), "-o", "out.csv")
    assert Path("out.csv").read_text() == "old"


@pytest.mark.parametrize("source", ["nobody", "posts.json", "output"])
def test_what_is_neither_run_nor_file_is_an_error(here: Path, source: str) -> None:
    with pytest.raises(UsageError, match=f"there is no run {source} in output, and no file"):
        export(source, "-o", "out.csv")


@pytest.mark.parametrize("source", ["a.csv", "./a.csv", "a.csv.gz"])
def test_a_file_that_can_not_be_read_tells_which_can(here: Path, source: str) -> None:
    Path(source).write_text("a\n1\n")
    with pytest.raises(UsageError, match=rf"^{source} is no file of items: .* \.json, \.jsonl, "):
        export(source, "-o", "out.json")


def test_a_run_may_be_called_as_a_file_that_can_not_be_read(here: Path) -> None:
    Path("posts").touch()
    assert exported("posts") == ITEMS


# ---- Which items, and how ----


@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        ("", ["c", "=b", "d"]),
        ("--sort n", ["d", "=b", "c"]),
        ("--sort title", ["=b", "c", "d"]),
        ("--where title!='d'", ["c", "a", "=b"]),
    ],
)
def test_the_key_is_known_where_it_is_not_among_the_fields(
    here: Path, arguments: str, titles: list[str]
) -> None:
    found = exported("posts", "--key", "n", "--fields", "title", *arguments.split())
    assert found == [{"title": title} for title in titles]


def test_a_key_that_is_no_field_is_no_primary_key(here: Path) -> None:
    export("posts", "-o", "out.db", "--key", "n", "--fields", "title")
    with closing(sqlite3.connect("out.db")) as database:
        assert database.execute("SELECT * FROM items").fetchall() == [("c",), ("=b",), ("d",)]


def test_keys_count_within_the_table_that_items_name(here: Path) -> None:
    arguments = ("posts", "--key", "n", "--table", "title")
    assert exported(*arguments, "--fields", "n") == [{"n": 3}, {"n": 1}, {"n": 2}, {"n": 1}]
    export(*arguments, "-o", "out.db", "--fields", "title,n", "--where", "n < `3`")
    assert sqlite_tables(Path("out.db").read_bytes()) == {
        "a": [{"title": "a", "n": 1}],
        "=b": [{"title": "=b", "n": 2}],
        "d": [{"title": "d", "n": 1}],
    }
    with pytest.raises(UsageError, match="--table title: --fields leaves it out"):
        export(*arguments, "-o", "out.db", "--fields", "n")


def test_a_key_that_no_item_has_is_told_once(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    export("posts", "-o", "out.csv", "-o", "out.db", "--key", "number")
    (record,) = caplog.records
    assert record.getMessage() == "no item has the field number, so all of them stay"


def test_fields_come_in_the_order_that_is_asked_for(here: Path) -> None:
    export("posts", "-o", "out.csv", "--fields", "votes, n")
    assert Path("out.csv").read_bytes() == b"votes,n\r\n,3\r\n,1\r\n,2\r\n7,1\r\n"


@pytest.mark.parametrize("fields", ["", "n,,title", "n,", " ,n"])
def test_a_field_has_a_name(here: Path, fields: str) -> None:
    with pytest.raises(UsageError, match=f"^--fields '{fields}': a name is missing; write A,B,C$"):
        export("posts", "-o", "out.csv", "--fields", fields)


@pytest.mark.parametrize(
    ("name", "content"),
    [("out.csv", b"title,n\r\n"), ("out.md", b"| title | n |\n| --- | --- |\n")],
)
def test_the_columns_are_there_also_if_no_item_is(here: Path, name: str, content: bytes) -> None:
    export("posts", "-o", name, "--where", "`false`", "--fields", "title,n")
    assert Path(name).read_bytes() == content


def test_a_table_of_sqlite_is_there_also_if_no_item_is(here: Path) -> None:
    export("posts", "-o", "out.db", "--where", "`false`", "--fields", "title,n", "--key", "n")
    with closing(sqlite3.connect("out.db")) as database:
        assert database.execute("SELECT title, n FROM items").fetchall() == []


def test_how_many_items_were_written_is_said(here: Path) -> None:
    def said(*arguments: str) -> str:
        return export("posts", "-o", "out.csv", *arguments).stderr

    assert said() == "-> out.csv, 4 items\n"
    assert said("--where", "n > `1`") == "-> out.csv, 2 of 4 items\n"
    assert said("--where", "number > `1`", "--sort", "n") == "-> out.csv, 0 of 4 items\n"
    assert said("--key", "n", "--sort", "n") == "-> out.csv, 3 of 4 items\n"
    a_run("many", [{}] * 1_250)
    done = export("many", "-o", "out.json", "-o", "-:jsonl", "--where", "n")
    assert done.stderr == "-> out.json, 0 of 1,250 items\n"
    a_run("one", [{"n": 1}])
    assert export("one", "-o", "out.csv").stderr == "-> out.csv, 1 item\n"


def test_a_field_that_no_item_has_is_told_once(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ("--fields", "title, vote,votes", "--sort", "number", "--where", "n > `1`")
    export("posts", "-o", "out.csv", "-o", "out.db", *arguments)
    assert caplog.messages == [
        "--fields: no item has the field vote; the first one has n, title, tags",
        "--sort: no item has the field number; the first one has n, title, tags",
    ]
    caplog.clear()
    Path("none.jsonl").write_text("")
    export("none.jsonl", "-o", "out.csv", "--fields", "a", "--sort", "b")
    assert not caplog.messages


def test_where_is_jmespath(here: Path) -> None:
    assert exported("posts", "--where", "n > `1`") == [ITEMS[0], ITEMS[2]]
    assert exported("posts", "--where", "title == 'a' || votes") == [ITEMS[1], ITEMS[3]]
    assert exported("posts", "--where", "tags") == [ITEMS[0]]
    assert exported("posts", "--where", "`0`") == ITEMS


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("n >", "--where: "),
        ("", "--where: "),
        ("(" * 100_000, "--where: "),
        ("n > 1", r"--where: .*\n.*\n.*\ntext is written in '...', numbers in `...`$"),
        ("length(n)", r"--where length\(n\): item 1: "),
        ("contains(title, `5`)", r"--where contains\(title, `5`\): item 1: "),
        ("tags[::0]", r"--where tags\[::0\]: item 1: "),
        ("floor(`1e999`)", r"--where floor\(`1e999`\): item 1: "),
        ("merge(@, votes)", r"--where merge\(@, votes\): item 1: "),
    ],
)
def test_a_where_that_can_not_be_judged_is_an_error(
    here: Path, expression: str, complaint: str
) -> None:
    with pytest.raises(UsageError, match=f"^{complaint}"):
        export("posts", "-o", "out.csv", "--where", expression)
    assert not Path("out.csv").exists()


def test_text_compared_with_a_number_is_null_and_told_once(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = [{"n": n} for n in (3, "7", True, None, "x", "10", [4])]
    a_run("mixed", items)
    arguments = ("-o", "out.json", "-o", "out.csv", "--where")
    export("mixed", *arguments, "n > `2` || n >= `5`")
    assert json.loads(Path("out.json").read_bytes()) == [{"n": 3}]
    (message,) = caplog.messages
    assert message == (
        "--where: in 3 items text is compared with a number, which gives null; "
        "to_number(FIELD) makes a number of it"
    )
    caplog.clear()
    export("mixed", *arguments, "to_number(n) > `2`")
    assert json.loads(Path("out.json").read_bytes()) == [items[0], items[1], items[5]]
    export("mixed", *arguments, "type(n) == 'string' && n > '10'")
    assert json.loads(Path("out.json").read_bytes()) == [items[1], items[4]]
    export("mixed", *arguments, "[n] > `2`")
    assert not caplog.messages


def test_double_quotes_that_name_no_field_are_told(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ("-o", "out.json", "-o", "out.csv", "--where")
    export("posts", *arguments, 'title == "c" || tags[?@ == "x"]')
    hint = "text is written in '...', numbers in `...`"
    assert caplog.messages == [
        f'--where: "c" is a field, and none has that name; {hint}',
        f'--where: "x" is a field, and none has that name; {hint}',
    ]
    caplog.clear()
    export("posts", *arguments, '"votes" || {"some name": n} && `false` && "never asked"')
    export("posts", *arguments, 'votes."of nothing"')
    assert caplog.messages == ['--where: "of nothing" is a field, and none has that name; ' + hint]


def test_items_are_sorted_and_otherwise_keep_their_order(here: Path) -> None:
    assert [i["title"] for i in exported("posts", "--sort", "n")] == ["a", "d", "=b", "c"]
    found = exported("posts", "--sort", "votes", "--fields", "title", "--where", "n < `3`")
    assert found == [{"title": "d"}, {"title": "a"}, {"title": "=b"}]


@given(
    st.lists(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.lists(st.integers() | st.text())
        | st.dictionaries(st.text(), st.integers())
    )
)
def test_all_values_can_be_sorted(values: list[Any]) -> None:
    found = sorted(values, key=_order)
    assert found.count(None) == 0 or found[-found.count(None) :] == [None] * found.count(None)
    texts = [value for value in found if isinstance(value, str)]
    assert texts == sorted(texts)


# ---- Where it goes ----


def test_several_outputs_with_names_of_the_run(here: Path) -> None:
    (folder,) = here.glob("output/runs/posts/2*")
    done = export("posts", "-o", "{name}-{run}.jsonl.gz", "-o", "{date}.csv")
    date = f"{folder.name[:4]}-{folder.name[4:6]}-{folder.name[6:8]}"
    assert done.stderr == (f"-> posts-{folder.name}.jsonl.gz, 4 items\n-> {date}.csv, 4 items\n")
    packed = Path(f"posts-{folder.name}.jsonl.gz").read_bytes()
    assert [json.loads(line) for line in gzip.decompress(packed).splitlines()] == ITEMS
    assert Path(f"{date}.csv").read_bytes().count(b"\r\n") == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_an_output_that_fails_keeps_no_other_from_being_written(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a_run("long", [{"n": "x" * 100}] * 10_000)
    outputs = ("-o", "/dev/full:jsonl", "-o", "out.csv")
    with pytest.raises(OutputError, match="can't write /dev/full: No space left") as caught:
        export("long", *outputs, "--where", "n > `1` || n", "--fields", "n,m")
    assert caught.value.exit_code == 8
    assert Path("out.csv").read_bytes().count(b"\r\n") == 10_001
    assert [message[:31] for message in caplog.messages] == [
        "--fields: no item has the field",
        "--where: in 10,000 items text i",
    ]


def test_a_file_has_a_name_and_a_date_but_no_run(here: Path) -> None:
    Path("a.jsonl").write_text("{}")
    export("a.jsonl", "-o", "{name}.xml")
    assert Path("a.xml").exists()
    with pytest.raises(UsageError, match=r"\{run\} stands for nothing; there are \{name\}, "):
        export("a.jsonl", "-o", "{run}.xml")


def test_settings_for_csv_hold_here_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("crawl.toml").write_text("csv_safe = true\n")
    export("posts", "-o", "out.csv", "--fields", "title")
    assert b"'=b" in Path("out.csv").read_bytes()
    export("posts", "-o", "out.csv", "--fields", "title", "--no-csv-safe", "--csv-bom")
    assert Path("out.csv").read_bytes().startswith(b"\xef\xbb\xbftitle\r\n")
    assert b"'=b" not in Path("out.csv").read_bytes()


def test_the_command_itself(here: Path) -> None:
    done = crawl("export", "posts", "-o", "-:csv", "--fields", "n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "n\n3\n1\n2\n1\n", "")
    done = crawl("export", "posts", "-o", "out.xls")
    assert done.returncode == 2
    assert done.stderr.startswith("crawl: -o out.xls: .xls tells no format")
