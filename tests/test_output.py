"""Where items go: targets, and how they get there."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import OutputError, UsageError
from crawler.exporters import FORMATS
from crawler.output import (
    StandardOutput,
    Target,
    check_targets,
    literal,
    names_of,
    parse_target,
    publish_items,
)

# ---- Targets ----

NAMES = names_of("posts", "20261123T014800Z-1a2b3c4d")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("posts.json", Target(Path("posts.json"), "json")),
        ("a/b/posts.jsonl", Target(Path("a/b/posts.jsonl"), "jsonl")),
        ("posts.NDJSON", Target(Path("posts.NDJSON"), "jsonl")),
        ("posts.jl", Target(Path("posts.jl"), "jsonl")),
        ("posts.txt:jsonl", Target(Path("posts.txt"), "jsonl")),
        ("posts.jsonl:json", Target(Path("posts.jsonl"), "json")),
        ("posts:json", Target(Path("posts"), "json")),
        ("-", Target(None, "json")),
        ("-:jsonl", Target(None, "jsonl")),
        ("2026-11-23T10:30.json", Target(Path("2026-11-23T10:30.json"), "json")),
        ("10:30.txt:json", Target(Path("10:30.txt"), "json")),
        ("a:b/posts.json", Target(Path("a:b/posts.json"), "json")),
        ("~/posts.json", Target(Path.home() / "posts.json", "json")),
        ("posts.csv", Target(Path("posts.csv"), "csv")),
        ("-:csv", Target(None, "csv")),
        ("posts.jsonl.gz", Target(Path("posts.jsonl.gz"), "jsonl", compression=".gz")),
        ("posts.CSV.ZST", Target(Path("posts.CSV.ZST"), "csv", compression=".zst")),
        ("posts.gz:jsonl", Target(Path("posts.gz"), "jsonl", compression=".gz")),
        ("posts.csv.gz:json", Target(Path("posts.csv.gz"), "json", compression=".gz")),
        ("{name}.{date}:xml", Target(Path("posts.2026-11-23"), "xml")),
        ("{run}/{time}.md", Target(Path("20261123T014800Z-1a2b3c4d/014800.md"), "md")),
        ("{{{name}}}.json", Target(Path("{posts}.json"), "json")),
    ],
)
def test_a_target_is_a_file_and_a_format(text: str, target: Target) -> None:
    found = parse_target(text, NAMES)
    assert (found.path, found.format) == (target.path, target.format)
    assert found.compression == target.compression


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "-o : a file name is missing; write FILE[:FORMAT]"),
        (":json", "-o :json: a file name is missing"),
        ("posts", "no suffix tells no format; write posts:FORMAT with one of json, jsonl"),
        ("posts.txt", ".txt tells no format; write posts.txt:FORMAT with one of json, jsonl"),
        ("posts.json:xls", "unknown format 'xls'; there are json, jsonl"),
        ("-:xls", "unknown format 'xls'"),
        ("posts.gz", "no suffix tells no format; write posts.gz:FORMAT with one of json, jsonl"),
        (
            "{spider}.json",
            "{spider} stands for nothing; there are {name}, {date}, {time}, {run}; write {{ for",
        ),
        ("{}.json", "{} stands for nothing"),
        ("{name.json", "{ stands for nothing"),
        ("name}.json", "} stands for nothing"),
    ],
)
def test_a_target_that_is_none_is_an_error(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text, NAMES)
    assert complaint in str(caught.value)


def test_a_target_is_shown_as_people_call_it() -> None:
    assert str(parse_target("a/posts.json")) == "a/posts.json"
    assert str(parse_target("-")) == "stdout"


@given(st.text(st.characters(exclude_characters="\0/"), min_size=1))
def test_any_path_can_be_written_as_a_target(name: str) -> None:
    path = Path("/folder") / f"x{name}.json"
    assert parse_target(literal(path), NAMES).path == path


# ---- Before anything is fetched ----


@pytest.mark.parametrize(
    ("text", "package", "module", "complaint"),
    [
        (
            "posts.parquet",
            "pyarrow",
            "crawler.exporters.parquet",
            "the format parquet needs pyarrow: pip install 'crawl-in-order[parquet]'",
        ),
        (
            "posts.csv.zst",
            "zstandard",
            "-",
            ".zst needs zstandard: pip install 'crawl-in-order[zstd]'",
        ),
    ],
)
def test_a_missing_package_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, text: str, package: str, module: str, complaint: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(UsageError) as caught:
        check_targets([parse_target(text)])
    assert str(caught.value) == complaint


def test_folders_of_targets_are_made_and_nothing_else(tmp_cwd: Path) -> None:
    check_targets([parse_target("new/folder/posts.json"), parse_target("-")])
    assert [str(path.relative_to(tmp_cwd)) for path in sorted(tmp_cwd.rglob("*"))] == [
        "new",
        "new/folder",
    ]


def test_an_old_file_is_left_alone(tmp_cwd: Path) -> None:
    Path("posts.json").write_text("old")
    check_targets([parse_target("posts.json")])
    assert Path("posts.json").read_text() == "old"


def test_a_target_that_can_not_be_written_is_an_error(tmp_cwd: Path) -> None:
    Path("a-file").touch()
    Path("folder.json").mkdir()
    long = "x" * 300 + ".json"
    for text in ("folder.json", "a-file/posts.json", f"new/{long}"):
        with pytest.raises(UsageError, match=f"^can't write {text}: "):
            check_targets([parse_target(text)])
    assert not Path("new").exists(), "no folder is made for what is refused"


@pytest.mark.parametrize(
    ("one", "other", "complaint"),
    [
        ("posts.json", "posts.json", "two outputs would go to posts.json; give each a file of its"),
        ("posts.json", "./new/../posts.json:csv", "would go to new/../posts.json, which is also p"),
        ("posts.json", "link.json", "two outputs would go to link.json, which is also posts.json"),
        ("-", "-:csv", "two outputs would go to stdout; give each a file of its own"),
        ("memory://a/posts.csv", "memory://a/posts.csv", "two outputs would go to memory://a/p"),
    ],
)
def test_each_output_has_a_place_of_its_own(
    one: str, other: str, complaint: str, tmp_cwd: Path
) -> None:
    """The second one would replace the first."""
    Path("new").mkdir()
    Path("link.json").symlink_to("posts.json")
    with pytest.raises(UsageError) as caught:
        check_targets([parse_target(one), parse_target(other)])
    assert complaint in str(caught.value)
    assert sorted(os.listdir()) == ["link.json", "new"]


# ---- Publishing ----


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("posts.json", b'[\n{"a": 1},\n{"a": "\xe6\xb1\x89"}\n]\n'),
        ("posts.jsonl", b'{"a": 1}\n{"a": "\xe6\xb1\x89"}\n'),
    ],
)
def test_items_take_the_place_of_an_old_file(tmp_cwd: Path, name: str, content: bytes) -> None:
    target = tmp_cwd / name
    target.write_bytes(b"old")
    publish_items(lambda: [b'{"a": 1}', '{"a": "汉"}'.encode()], parse_target(name))
    assert target.read_bytes() == content


LINES = [b'{"a": 1}', b'{"b": "=x"}']


def test_csv_has_the_columns_of_all_items_and_what_the_settings_ask_for(tmp_cwd: Path) -> None:
    publish_items(lambda: iter(LINES), parse_target("posts.csv"))
    assert Path("posts.csv").read_bytes() == b"a,b\r\n1,\r\n,=x\r\n"
    publish_items(lambda: iter(LINES), parse_target("posts.csv", csv_safe=True, csv_bom=True))
    assert Path("posts.csv").read_bytes() == b"\xef\xbb\xbfa,b\r\n1,\r\n,'=x\r\n"


def test_a_table_on_stdout_comes_at_the_end(tmp_cwd: Path) -> None:
    assert parse_target("-:xml").is_live
    assert not parse_target("-:csv").is_live
    with open("stdout", "wb") as file, stdout_at(file.fileno()):
        publish_items(lambda: iter(LINES), parse_target("-:csv"))
    assert Path("stdout").read_bytes() == b"a,b\r\n1,\r\n,=x\r\n"


def unpacked_gz(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def unpacked_zst(path: Path) -> bytes:
    zstandard = pytest.importorskip("zstandard", reason="the extra `zstd` is not installed")
    with path.open("rb") as file:
        content: bytes = zstandard.ZstdDecompressor().stream_reader(file).read()
    return content


@pytest.mark.parametrize(("suffix", "unpacked"), [("gz", unpacked_gz), ("zst", unpacked_zst)])
@pytest.mark.parametrize("count", [0, 1, 100_000])
def test_a_compressed_file_is_what_it_would_be(
    tmp_cwd: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    unpacked: Callable[[Path], bytes],
    count: int,
) -> None:
    if suffix == "zst":
        pytest.importorskip("zstandard", reason="the extra `zstd` is not installed")
    lines = [b'{"a": %d}' % number for number in range(count)]
    publish_items(lambda: lines, parse_target("a.jsonl"))
    publish_items(lambda: lines, parse_target(f"a.jsonl.{suffix}"))
    packed = Path(f"a.jsonl.{suffix}")
    assert unpacked(packed) == Path("a.jsonl").read_bytes()
    monkeypatch.setattr("time.time", lambda: 10**9)
    publish_items(lambda: lines, parse_target(f"b.{suffix}:jsonl"))
    assert Path(f"b.{suffix}").read_bytes() == packed.read_bytes()


def test_a_spider_may_change_the_working_directory(tmp_cwd: Path) -> None:
    target = parse_target("posts.jsonl")
    (tmp_cwd / "elsewhere").mkdir()
    os.chdir("elsewhere")
    publish_items(lambda: [b"{}"], target)
    assert (tmp_cwd / "posts.jsonl").read_bytes() == b"{}\n"


def test_an_error_on_the_way_leaves_the_old_file(tmp_cwd: Path) -> None:
    def lines() -> Iterator[bytes]:
        yield b"{}"
        raise OSError("the disk is gone")

    Path("posts.json").write_text("old")
    with pytest.raises(OutputError, match="the disk is gone"):
        publish_items(lines, parse_target("posts.json"))
    assert os.listdir() == ["posts.json"]
    assert Path("posts.json").read_text() == "old"


# ---- Standard output ----


@contextmanager
def stdout_at(descriptor: int) -> Iterator[None]:
    """The process's own standard output, below Python, is another file."""
    kept = os.dup(1)
    os.dup2(descriptor, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def test_standard_output_gets_items_as_they_come(tmp_cwd: Path) -> None:
    with open("stdout", "wb") as file, stdout_at(file.fileno()):
        output = StandardOutput(parse_target("-:jsonl"))
        output.write([b'{"a": 1}'])
        at_once = Path("stdout").read_bytes()
        output.write([b'{"a": 2}'])
        output.close()
    assert at_once == b'{"a": 1}\n'
    assert [json.loads(line) for line in Path("stdout").read_text().splitlines()] == [
        {"a": 1},
        {"a": 2},
    ]
    assert os.listdir() == ["stdout"]


# ---- When it can't be written ----

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


@full
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_target_on_a_full_disk_is_an_error(format_name: str) -> None:
    if format_name == "parquet":
        pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    target = parse_target(f"/dev/full:{format_name}")
    with pytest.raises(OutputError, match=r"can't write /dev/full: .*No space left") as caught:
        publish_items(lambda: [b'{"a": 1}'] * 100_000, target)
    assert caught.value.exit_code == 8


@full
def test_a_compressed_target_on_a_full_disk_is_an_error(tmp_cwd: Path) -> None:
    Path("full.gz").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"can't write full.gz: No space left"):
        publish_items(lambda: [b'{"a": 1}'] * 100_000, parse_target("full.gz:json"))


def test_a_table_that_the_format_can_not_hold_leaves_the_old_file(tmp_cwd: Path) -> None:
    Path("posts.csv").write_text("old")
    lines = [b'{"%d": 1}' % number for number in range(3_000)]
    with pytest.raises(OutputError, match=r"can't write posts.csv: a table of over 2,000 columns"):
        publish_items(lambda: lines, parse_target("posts.csv"))
    assert os.listdir() == ["posts.csv"]
    assert Path("posts.csv").read_text() == "old"


def test_a_reader_of_stdout_that_has_enough_is_no_error_of_ours() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with stdout_at(writer):
        output = StandardOutput(parse_target("-"))
        with pytest.raises(BrokenPipeError):
            output.write([b'{"a": 1}'])
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        output.close()
    os.close(writer)
