"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from crawler.publish import check_writable, replacing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("old", [None, b"old content"])
def test_the_new_content_appears_when_it_is_complete(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "posts.json"
    if old is not None:
        path.write_bytes(old)
    with replacing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert (path.read_bytes() if path.exists() else None) == old
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["posts.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_content_and_no_litter(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "posts.json"
    path.write_bytes(b"old")

    def write() -> None:
        with replacing(path) as stream:
            stream.write(b"half of the ne")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["posts.json"]


@pytest.mark.parametrize(
    "where", ["crawler.publish.lock", "os.fstat", "os.fsync", "shutil.copymode"]
)
def test_ended_by_a_signal_it_leaves_no_litter_whatever_it_was_doing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "posts.json"
    path.write_bytes(b"old")
    handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def end(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(where, end)
    try:
        with pytest.raises(SystemExit), replacing(path) as stream:
            stream.write(b"new")
    finally:
        signal.signal(signal.SIGTERM, handler)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["posts.json"]


def test_content_is_on_the_disk_before_the_name_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "posts.json"
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    with replacing(path) as stream:
        stream.write(b"new")
    assert done == ["file", "rename", "folder"]


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    path = tmp_path / "posts.json"
    contents = [bytes([65 + number]) * 50_000 for number in range(20)]
    path.write_bytes(contents[0])
    seen: set[bytes] = set()
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for content in contents:
        with replacing(path) as stream:
            stream.write(content)
    is_over.set()
    reader.join()
    assert seen <= set(contents)


def test_permissions_of_the_old_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "posts.json"
    path.touch()
    path.chmod(0o640)
    with replacing(path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_permissions_of_a_new_file_are_as_usual(tmp_path: Path) -> None:
    old_mask = os.umask(0o027)
    try:
        with replacing(tmp_path / "posts.json"):
            pass
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE((tmp_path / "posts.json").stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "posts.json", tmp_path / "posts.json"
    real.parent.mkdir()
    real.write_bytes(b"old")
    link.symlink_to(real)
    with replacing(link) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert names(real.parent) == ["posts.json"]


@pytest.mark.parametrize("name", ["x" * 255, "汉" * 85], ids=["ascii", "chinese"])
def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path, name: str) -> None:
    check_writable(tmp_path / name)
    with replacing(tmp_path / name) as stream:
        stream.write(b"new")
    assert names(tmp_path) == [name]


def test_a_device_is_written_to_and_stays_a_device() -> None:
    check_writable(Path(os.devnull))
    with replacing(Path(os.devnull)) as stream:
        stream.write(b"gone")
    assert not Path(os.devnull).is_file()


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with replacing(pipe) as stream:
        stream.write(b"through")
    reader.join()
    assert read == [b"through"]
    assert names(tmp_path) == ["pipe"]


def test_a_planted_link_in_the_place_of_the_temporary_file_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / ".posts.json.guessed.tmp").symlink_to(victim)
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")

    def write(stream: BinaryIO) -> None:
        stream.write(b"new")

    with pytest.raises(FileExistsError), replacing(tmp_path / "posts.json") as stream:
        write(stream)
    assert victim.read_bytes() == b"mine"


# ---- What a killed process leaves ----

WRITE = """
import sys
from pathlib import Path
from crawler.publish import replacing

with replacing(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("written", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is about to replace `posts.json`."""
    command = [sys.executable, "-c", WRITE, str(tmp_path / "posts.json")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "written\n"
        yield process
        process.kill()


def test_what_a_killed_process_left_is_removed(
    tmp_path: Path, writer: subprocess.Popen[str]
) -> None:
    writer.kill()
    writer.wait()
    assert len(names(tmp_path)) == 1
    check_writable(tmp_path / "posts.json")
    assert names(tmp_path) == []


def test_what_somebody_is_writing_is_not(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    check_writable(tmp_path / "posts.json")
    assert len(names(tmp_path)) == 1
    writer.communicate()
    assert writer.returncode == 0
    assert (tmp_path / "posts.json").read_bytes() == b"half"
    assert names(tmp_path) == ["posts.json"]


def test_files_of_that_look_but_of_another_name_are_left_alone(tmp_path: Path) -> None:
    others = [".pages.json.0123456789ab.tmp", ".posts.json.tmp", ".posts.json.0123456789ab.tmp2"]
    for other in others:
        (tmp_path / other).touch()
    check_writable(tmp_path / "posts.json")
    assert names(tmp_path) == sorted(others)


def test_one_who_writes_while_others_look_for_leftovers_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "posts.json"
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            check_writable(path)

    with ThreadPoolExecutor(2) as others:
        looking = [others.submit(look) for _ in range(2)]
        for number in range(200):
            with replacing(path) as stream:
                stream.write(str(number).encode())
            assert path.read_bytes() == str(number).encode()
        is_over.set()
        for each in looking:
            each.result()
    assert names(tmp_path) == ["posts.json"]


# ---- Can it be written? ----


def test_checking_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "posts.json"
    check_writable(path)
    check_writable(path)
    assert names(path.parent) == []


def test_checking_finds_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError):
        check_writable(tmp_path)
    with pytest.raises(OSError, match="file"):
        check_writable(tmp_path / "file" / "posts.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_checking_finds_a_folder_that_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        check_writable(tmp_path / "posts.json")
