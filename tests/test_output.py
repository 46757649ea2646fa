"""Where items go: targets, and how they get there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crawler.errors import OutputError, UsageError
from crawler.output import StandardOutput, Target, check_targets, parse_target, publish_items

# ---- Targets ----


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
    ],
)
def test_a_target_is_a_file_and_a_format(text: str, target: Target) -> None:
    found = parse_target(text)
    assert (found.path, found.format) == (target.path, target.format)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "-o : a file name is missing; write FILE[:FORMAT]"),
        (":json", "-o :json: a file name is missing"),
        ("posts", "no suffix tells no format; write posts:FORMAT with one of json, jsonl"),
        ("posts.txt", ".txt tells no format; write posts.txt:FORMAT with one of json, jsonl"),
        ("posts.json:xml", "unknown format 'xml'; there are json, jsonl"),
        ("-:xml", "unknown format 'xml'"),
    ],
)
def test_a_target_that_is_none_is_an_error(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert complaint in str(caught.value)


def test_a_target_is_shown_as_people_call_it() -> None:
    assert str(parse_target("a/posts.json")) == "a/posts.json"
    assert str(parse_target("-")) == "stdout"


# ---- Before anything is fetched ----


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
    publish_items([b'{"a": 1}', '{"a": "汉"}'.encode()], parse_target(name))
    assert target.read_bytes() == content


def test_a_spider_may_change_the_working_directory(tmp_cwd: Path) -> None:
    target = parse_target("posts.jsonl")
    (tmp_cwd / "elsewhere").mkdir()
    os.chdir("elsewhere")
    publish_items([b"{}"], target)
    assert (tmp_cwd / "posts.jsonl").read_bytes() == b"{}\n"


def test_an_error_on_the_way_leaves_the_old_file(tmp_cwd: Path) -> None:
    def lines() -> Iterator[bytes]:
        yield b"{}"
        raise OSError("the disk is gone")

    Path("posts.json").write_text("old")
    with pytest.raises(OutputError, match="the disk is gone"):
        publish_items(lines(), parse_target("posts.json"))
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
def test_a_target_on_a_full_disk_is_an_error() -> None:
    with pytest.raises(OutputError, match=r"can't write /dev/full: No space left") as caught:
        publish_items([b"{}"], parse_target("/dev/full:json"))
    assert caught.value.exit_code == 8


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
