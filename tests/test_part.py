"""A file that only grows, and is cut back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crawler.errors import OutputError, UsageError
from crawler.part import Part


def test_what_was_appended_is_there_after_a_sync(tmp_path: Path) -> None:
    part = Part(tmp_path / "x.jsonl")
    part.append([b"a", b"bc"])
    assert part.sync() == part.offset == 5
    assert part.path.read_bytes() == b"a\nbc\n"
    assert list(part.lines()) == [b"a", b"bc"]
    part.close()


def test_it_goes_on_at_its_end_or_where_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"a\nb\nhalf of a li")
    part = Part(path)
    part.check(4)
    part.cut(4)
    part.append([b"c"])
    assert part.sync() == 6
    part.close()
    assert path.read_bytes() == b"a\nb\nc\n"


def test_a_file_that_somebody_shortened_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"a\n")
    part = Part(path)
    with pytest.raises(UsageError, match="has 2 bytes, but 4 had been written"):
        part.check(4)
    part.close()
    assert path.read_bytes() == b"a\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    os.symlink("/dev/full", tmp_path / "x.jsonl")
    part = Part(tmp_path / "x.jsonl")
    part.append([b"a"])
    with pytest.raises(OutputError, match=r"can't write .*x.jsonl: No space left") as caught:
        part.sync()
    assert caught.value.exit_code == 8
    with pytest.raises(OutputError):
        part.close()
