"""The folder of files: names, what is known of them, and what is left after a crash."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crawler.download import StoredFile
from crawler.errors import LockedError, OutputError
from crawler.file_store import INDEX, FileStore
from crawler.thumbnail_rule import ThumbnailRule

PICTURE: dict[str, Any] = {
    "kind": "image/gif",
    "width": 9,
    "height": 9,
    "thumbnails": {"small": ".png"},
}
SMALL = {"small": ThumbnailRule((20, 20))}


@contextmanager
def opened(folder: Path, run: str = "run 1", **options: Any) -> Iterator[FileStore]:
    store = FileStore(folder, prefix="posts/files", run=run, **options)
    try:
        yield store
    finally:
        store.close()


def stored(
    store: FileStore, content: bytes, *, kind: str = "text/plain", **more: Any
) -> StoredFile:
    """As a worker does it."""
    store.open()
    sha256 = hashlib.sha256(content).hexdigest()
    (store.parts / sha256).write_bytes(content)
    for name in more.get("thumbnails", {}):
        (store.parts / f"{sha256}.{name}").write_bytes(b"thumbnail of " + content)
    return StoredFile(sha256, len(content), kind, **more)


def add(store: FileStore, key: bytes, content: bytes, **more: Any) -> StoredFile:
    file = stored(store, content, **more)
    store.add(key, f"http://x/{key.decode()}", file)
    return file


def names(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(INDEX)
    )


def test_a_file_gets_its_name_when_its_page_is_committed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        file = add(store, b"a.txt", b"content")
        assert names(tmp_path) == [f".parts/{file.sha256}"]
        record = store.commit(b"a.txt", "http://x/a.txt")
    name = f"a-{file.sha256[:16]}.txt"
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"content"
    assert record == {
        "url": "http://x/a.txt",
        "path": f"posts/files/{name}",
        "sha256": file.sha256,
        "bytes": 7,
        "content_type": "text/plain",
        "width": None,
        "height": None,
    }


def test_a_content_is_stored_once_under_its_first_name(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, b"b", b"same")
        add(store, b"a", b"same")
        paths = [
            store.commit(key, f"http://x/{key.decode()}")["path"] for key in (b"a", b"b", b"a")
        ]
    assert len(set(paths)) == 1
    assert Path(paths[0]).name.startswith("a-"), "the first to be committed, not to come"
    assert len(names(tmp_path)) == 1


def test_a_part_that_comes_when_the_content_has_its_name_is_no_second_file(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, b"a", b"same")
        store.commit(b"a", "http://x/a")
        add(store, b"b", b"same")
        store.commit(b"b", "http://x/b")
    assert len(names(tmp_path)) == 1


def test_names_are_distinct_although_half_of_their_hashes_is_the_same(tmp_path: Path) -> None:
    """Nobody can make such contents here; whoever can must not replace another's file."""
    with opened(tmp_path) as store:
        paths = []
        for digest in ("ab" * 32, "ab" * 8 + "cd" * 24):
            store.open()
            (store.parts / digest).write_bytes(digest.encode())
            key = digest[-16:].encode()
            store.add(key, "http://x/a", StoredFile(digest, 64, "text/plain"))
            paths.append(Path(store.commit(key, "http://x/a")["path"]).name)
        assert len(set(paths)) == 2
        assert [(tmp_path / path).read_text()[-2:] for path in paths] == ["ab", "cd"]


def test_thumbnails_stand_beside_each_other(tmp_path: Path) -> None:
    with opened(tmp_path, thumbnails=SMALL) as store:
        file = add(store, b"a", b"x", **PICTURE)
        record = store.commit(b"a", "http://x/a.gif")
    stem = f"a-{file.sha256[:16]}"
    assert names(tmp_path) == [f"{stem}.gif", f"thumbs/small/{stem}.png"]
    assert record["thumbnails"] == {"small": f"posts/files/thumbs/small/{stem}.png"}


# ---- What is known ----


def test_what_this_run_has_looked_at_is_fresh_and_what_another_has_is_not(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        file = add(store, b"a", b"x", etag='"1"', last_modified="then", final_url="http://y/a")
        known = store.known(b"a", is_image=False)
        assert known is not None
        assert known.is_fresh
        assert known.path == store.parts / file.sha256
        store.commit(b"a", "http://x/a")
        store.sync()
    with opened(tmp_path, "run 2") as store:
        known = store.known(b"a", is_image=False)
        assert known is not None
        assert not known.is_fresh
        assert known.path.parent == tmp_path
        assert (known.file.etag, known.file.last_modified) == ('"1"', "then")
        assert known.file.final_url == "http://y/a"
        assert store.known(b"b", is_image=False) is None


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        lambda path: path.write_bytes(b"shorter"),
        lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["gone", "cut", "link", "folder"],
)
def test_a_file_that_is_not_there_as_it_was_is_not_known(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    with opened(tmp_path) as store:
        add(store, b"a", b"a whole file")
        path = tmp_path / Path(store.commit(b"a", "http://x/a")["path"]).name
        harm(path)
        assert store.known(b"a", is_image=False) is None


@pytest.mark.parametrize(
    "rules",
    [{"small": ThumbnailRule((21, 20))}, {**SMALL, "large": ThumbnailRule((99, 99))}],
    ids=["another size", "one more"],
)
def test_a_picture_whose_thumbnails_should_be_others_is_not_fresh(
    tmp_path: Path, rules: dict[str, ThumbnailRule]
) -> None:
    with opened(tmp_path, thumbnails=SMALL) as store:
        add(store, b"a", b"x", **PICTURE)
        store.commit(b"a", "http://x/a")
        store.sync()
        known = store.known(b"a", is_image=True)
        assert known is not None
        assert known.is_fresh
    with opened(tmp_path, thumbnails=rules, resumed=True) as store:
        known = store.known(b"a", is_image=True)
        assert known is not None
        assert not known.is_fresh
        assert known.file.thumbnails == ({"small": ".png"} if "large" in rules else {})
        plain = store.known(b"a", is_image=False)
        assert plain is not None
        assert plain.is_fresh


def test_a_thumbnail_that_is_gone_is_missed(tmp_path: Path) -> None:
    with opened(tmp_path, thumbnails=SMALL) as store:
        add(store, b"a", b"x", **PICTURE)
        store.commit(b"a", "http://x/a")
        (thumbnail,) = tmp_path.glob("thumbs/small/*")
        thumbnail.unlink()
        known = store.known(b"a", is_image=True)
        assert known is not None
        assert not known.is_fresh


def test_files_are_counted_by_url_once_their_pages_are_committed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for key, content in ((b"a", b"12"), (b"b", b"12"), (b"c", b"345"), (b"d", b"6")):
            add(store, key, content)
        for key in (b"a", b"b", b"c", b"a"):
            store.commit(key, f"http://x/{key.decode()}")
        assert store.committed() == (3, 7, 0)


def test_a_resumed_run_counts_what_its_earlier_sessions_got(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, b"a", b"12")
        store.commit(b"a", "http://x/a")
        store.sync()
    with opened(tmp_path, resumed=True) as store:
        assert store.committed() == (1, 2, 0)
    with opened(tmp_path, "run 2") as store:
        assert store.committed() == (0, 0, 0)


# ---- Sessions ----


def test_before_the_first_sync_nothing_is_known(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, b"a", b"x")
    with opened(tmp_path, resumed=True) as store:
        assert store.known(b"a", is_image=False) is None


def test_a_resumed_run_finds_the_parts_of_pages_that_were_not_committed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, b"a", b"x")
        (store.parts / "half.tmp").touch()
        store.sync()
    with opened(tmp_path, resumed=True) as store:
        known = store.known(b"a", is_image=False)
        assert known is not None
        assert known.is_fresh
        store.commit(b"a", "http://x/a")
        assert not list(store.parts.iterdir())


def test_a_name_that_was_given_but_not_noted_is_given_again(tmp_path: Path) -> None:
    """The power went between the renaming and the next checkpoint."""
    with opened(tmp_path) as store:
        add(store, b"a", b"x")
        store.sync()
        before = store.commit(b"a", "http://x/a")
    with opened(tmp_path, resumed=True) as store:
        assert store.known(b"a", is_image=False) is None, "its part is gone: it is fetched again"
        add(store, b"a", b"x")
        assert store.commit(b"a", "http://x/a") == before
    assert len(names(tmp_path)) == 1


def test_a_new_run_removes_parts_that_nobody_committed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, b"a", b"x")
        add(store, b"b", b"y")
        store.commit(b"b", "http://x/b")
        store.sync()
    with opened(tmp_path, "run 2") as store:
        assert store.known(b"a", is_image=False) is None
        assert store.known(b"b", is_image=False) is not None
        assert not list(store.parts.iterdir())


def test_at_the_end_no_parts_are_left(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, b"a", b"behind the end")
        store.tidy()
        assert names(tmp_path) == []
        assert store.known(b"a", is_image=False) is None


def test_a_store_that_is_never_asked_makes_no_folder(tmp_path: Path) -> None:
    with opened(tmp_path / "files") as store:
        assert store.committed() == (0, 0, 0)
        store.sync()
        store.tidy()
    assert not (tmp_path / "files").exists()


def test_only_one_run_has_the_folder(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.open()
        store.sync()
        with opened(tmp_path, "run 2") as other, pytest.raises(LockedError, match="another run"):
            other.open()
    with opened(tmp_path, "run 2") as other:
        other.open()


def test_an_index_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / INDEX) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = (tmp_path / INDEX).read_bytes()
    with opened(tmp_path) as store, pytest.raises(OutputError, match="Move it away"):
        store.open()
    (tmp_path / INDEX).write_bytes(b"no database at all, but long enough to have a header" * 9)
    with opened(tmp_path) as store, pytest.raises(OutputError, match="not a database"):
        store.open()
    assert before.startswith(b"SQLite")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_closed_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with opened(tmp_path / "files") as store, pytest.raises(OutputError, match="can't write"):
        store.open()


def test_a_link_planted_under_a_files_name_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    folder = tmp_path / "files"
    with opened(folder) as store:
        file = add(store, b"a", b"x")
        (folder / f"a-{file.sha256[:16]}.txt").symlink_to(victim)
        path = folder / Path(store.commit(b"a", "http://x/a")["path"]).name
    assert victim.read_bytes() == b"mine"
    assert (path.is_symlink(), path.read_bytes()) == (False, b"x")
