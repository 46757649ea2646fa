"""A file on its way to the disk: what is kept of it, and what is left when it fails."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import sys
from pathlib import Path

import pytest

from crawler.download import FileOrder, StoredFile
from crawler.errors import FetchError
from crawler.file_part import FilePart, ImageRules, conditions, make_thumbnails, unchanged
from crawler.thumbnail_rule import ThumbnailRule

SHA = hashlib.sha256


def received(folder: Path, *pieces: bytes) -> FilePart:
    part = FilePart(folder, max_bytes=1_000, seconds=1)
    part.begin()
    for piece in pieces:
        part.write(piece)
    return part


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def png(width: int = 100, height: int = 60) -> bytes:
    Image = pytest.importorskip("PIL.Image", reason="the extra `images` is not installed")  # noqa: N806
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(stream, "PNG")
    return stream.getvalue()


def test_what_was_stored_is_called_by_its_hash(tmp_path: Path) -> None:
    with received(tmp_path, b"%PDF-", b"1.7 and", b" more") as part:
        stored = part.store("text/html", None)
    assert names(tmp_path) == [SHA(b"%PDF-1.7 and more").hexdigest()]
    assert (tmp_path / stored.sha256).read_bytes() == b"%PDF-1.7 and more"
    assert (stored.size, stored.content_type) == (17, "application/pdf")
    assert (stored.width, stored.height, stored.thumbnails) == (None, None, {})


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    with received(tmp_path) as part:
        assert part.store(None, None).size == 0
    assert names(tmp_path) == [SHA().hexdigest()]


@pytest.mark.parametrize("is_begun", [True, False])
def test_what_is_not_stored_is_gone(tmp_path: Path, is_begun: bool) -> None:
    part = FilePart(tmp_path, max_bytes=9, seconds=1)
    with part:
        if is_begun:
            part.begin()
            part.write(b"half of i")
            assert len(names(tmp_path)) == 1
    assert names(tmp_path) == []


def test_content_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        done.append(f"fsync of {os.fstat(descriptor).st_size} bytes")
        fsync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    with received(tmp_path, b"content") as part:
        part.store(None, None)
    assert done == ["fsync of 7 bytes", "rename"]


def test_a_picture_gets_its_size_and_thumbnails(tmp_path: Path) -> None:
    rules = ImageRules(thumbnails={"small": ThumbnailRule((20, 20)), "icon": ThumbnailRule((9, 9))})
    with received(tmp_path, png()) as part:
        stored = part.store("text/plain", rules)
    assert (stored.content_type, stored.width, stored.height) == ("image/png", 100, 60)
    assert stored.thumbnails == {"small": ".png", "icon": ".png"}
    assert names(tmp_path) == [f"{stored.sha256}{end}" for end in ("", ".icon", ".small")]


def test_only_thumbnails_that_are_missing_are_made(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(png())
    rules = ImageRules(thumbnails={"small": ThumbnailRule((20, 20)), "icon": ThumbnailRule((9, 9))})
    made = make_thumbnails(tmp_path / "picture", "a" * 64, tmp_path, rules, made={"icon": ".jpg"})
    assert made == {"icon": ".jpg", "small": ".png"}
    assert names(tmp_path) == ["a" * 64 + ".small", "picture"]


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (ImageRules(max_pixels=5_999), "6,000 pixels, at most 5,999"),
        (ImageRules(min_size=(101, 1)), "100x60 pixels, at least 101x1 are wanted"),
        (ImageRules(min_size=(1, 61)), "100x60 pixels, at least 1x61 are wanted"),
    ],
)
def test_a_picture_that_may_not_be_taken_leaves_nothing(
    tmp_path: Path, rules: ImageRules, problem: str
) -> None:
    with pytest.raises(FetchError, match=problem) as caught, received(tmp_path, png()) as part:
        part.store("image/png", rules)
    assert caught.value.failure.kind == "image"
    assert names(tmp_path) == []


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    png()
    with pytest.raises(FetchError) as caught, received(tmp_path, b"<html>404") as part:
        part.store("image/png", ImageRules())
    assert (caught.value.failure.kind, caught.value.failure.retryable) == ("image", False)


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "crawler.thumbnails", raising=False)
    with (
        pytest.raises(FetchError, match=r"crawl-in-order\[images\]"),
        received(tmp_path, b"x") as part,
    ):
        part.store(None, ImageRules())


# ---- A disk that fails ----


def test_a_full_disk_is_told_with_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with (
        pytest.raises(FetchError, match="No space left") as caught,
        received(tmp_path, b"x") as part,
    ):
        part.store(None, None)
    assert caught.value.failure.kind == "storage"
    assert str(tmp_path) in caught.value.failure.message
    assert names(tmp_path) == []


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught:
        received(tmp_path / "gone", b"x")
    assert caught.value.failure.kind == "storage"


def test_a_link_in_the_place_of_the_part_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "guessed.tmp").symlink_to("victim")
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    with pytest.raises(FetchError, match="File exists"):
        received(tmp_path, b"x")
    assert (tmp_path / "victim").read_bytes() == b"mine"


def test_an_answer_that_begins_anew_begins_a_new_file(tmp_path: Path) -> None:
    """A host that breaks the rules of HTTP in the middle of a body is asked by another fetcher."""
    with received(tmp_path, b"%PDF half of") as part:
        part.begin()
        part.write(b"the whole")
        stored = part.store(None, None)
    assert (stored.size, stored.content_type) == (9, "text/plain")
    assert stored.sha256 == SHA(b"the whole").hexdigest()
    assert names(tmp_path) == [stored.sha256]


def test_a_file_that_vanishes_while_it_is_asked_for_is_fetched_at_the_next_attempt(
    tmp_path: Path,
) -> None:
    png()
    earlier = StoredFile("a" * 64, 5, "image/png")
    order = FileOrder(str(tmp_path), True, earlier, str(tmp_path / "gone.png"))
    with pytest.raises(FetchError, match=r"gone\.png is gone") as caught:
        unchanged(order, earlier, ImageRules())
    assert caught.value.failure.retryable


@pytest.mark.parametrize(
    ("etag", "modified", "url", "headers"),
    [
        ('"1"', "then", "http://x/", {"If-None-Match": '"1"', "If-Modified-Since": "then"}),
        (None, "then", "http://x/", {"If-Modified-Since": "then"}),
        (None, None, "http://x/", {}),
        ('"1"', "then", "http://y/", {}),
    ],
)
def test_conditions_are_for_where_the_file_came_from(
    etag: str | None, modified: str | None, url: str, headers: dict[str, str]
) -> None:
    earlier = StoredFile(
        "a" * 64, 5, "image/png", etag=etag, last_modified=modified, final_url="http://x/"
    )
    assert conditions(FileOrder("", False, earlier, "x"), url) == headers
    assert conditions(FileOrder("", False), url) == {}
