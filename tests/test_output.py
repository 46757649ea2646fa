"""Where items go: targets, and their parts until they are published."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crawler.errors import OutputError, UsageError
from crawler.output import Output, Target, check_targets, parse_target

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
    assert parse_target(text) == target


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


# ---- Items on their way ----


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("posts.json", b'[\n{"a": 1},\n{"a": "\xe6\xb1\x89"}\n]\n'),
        ("posts.jsonl", b'{"a": 1}\n{"a": "\xe6\xb1\x89"}\n'),
    ],
)
def test_items_are_in_a_part_until_they_are_published(
    tmp_cwd: Path, name: str, content: bytes
) -> None:
    target = tmp_cwd / name
    target.write_bytes(b"old")
    (tmp_cwd / "run").mkdir()
    output = Output(parse_target(str(target)), tmp_cwd / "run")
    output.write([{"a": 1}])
    output.write([])
    output.write([{"a": "汉"}])
    output.flush()
    assert output.part is not None
    assert output.part.name == f"items.{output.target.format}"
    assert b'{"a": 1}' in output.part.read_bytes()
    assert target.read_bytes() == b"old"
    output.close()
    assert target.read_bytes() == b"old"
    output.publish()
    assert target.read_bytes() == output.part.read_bytes() == content


def test_parts_of_the_same_format_have_names_of_their_own(tmp_cwd: Path) -> None:
    outputs = [Output(parse_target(f"{n}.json"), tmp_cwd, n) for n in (1, 2, 3)]
    names = [output.part.name for output in outputs if output.part is not None]
    assert names == ["items.json", "items-2.json", "items-3.json"]
    for output in outputs:
        output.close()


def test_a_part_is_never_written_over(tmp_cwd: Path) -> None:
    (tmp_cwd / "items.json").write_text("somebody's")
    with pytest.raises(OutputError, match=r"can't write .*items.json: File exists"):
        Output(parse_target("posts.json"), tmp_cwd)
    assert (tmp_cwd / "items.json").read_text() == "somebody's"


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
        output = Output(parse_target("-:jsonl"), tmp_cwd)
        output.write([{"a": 1}])
        at_once = Path("stdout").read_bytes()
        output.write([{"a": 2}])
        output.close()
        output.publish()
    assert at_once == b'{"a": 1}\n'
    assert [json.loads(line) for line in Path("stdout").read_text().splitlines()] == [
        {"a": 1},
        {"a": 2},
    ]
    assert os.listdir() == ["stdout"]


# ---- When it can't be written ----

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


@full
def test_a_full_disk_is_an_error_that_names_the_file(tmp_cwd: Path) -> None:
    output = Output(parse_target("posts.json"), tmp_cwd)
    assert output.part is not None
    with output.part.open("ab", buffering=0) as part, open("/dev/full", "wb") as device:
        os.dup2(device.fileno(), output._stream.fileno())
        with pytest.raises(OutputError, match=r"can't write .*items.json: No space left") as caught:
            output.write([{"a": "x" * 100_000}])
        os.dup2(part.fileno(), output._stream.fileno())  # so that it can be closed
        output.close()
    assert caught.value.exit_code == 8


@full
def test_a_target_on_a_full_disk_is_an_error(tmp_cwd: Path) -> None:
    output = Output(parse_target("/dev/full:json"), tmp_cwd)
    output.close()
    with pytest.raises(OutputError, match=r"can't write /dev/full: No space left"):
        output.publish()


def test_a_reader_of_stdout_that_has_enough_is_no_error_of_ours(tmp_cwd: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with stdout_at(writer):
        output = Output(parse_target("-"), tmp_cwd)
        with pytest.raises(BrokenPipeError):
            output.write([{"a": 1}])
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        output.close()
    os.close(writer)
