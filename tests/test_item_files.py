"""What counts as a file in an item, and what doesn't."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import Download, Response
from crawler.download import Wanted
from crawler.errors import ItemError
from crawler.item_files import ItemFiles
from crawler.result import Item, plain
from crawler.url import problem_with

PAGE = Response("http://x.test/a/page.html", "<html></html>")


def lifted(item: dict[str, Any], **options: Any) -> tuple[Item, list[Wanted]]:
    files = ItemFiles(PAGE, **options)
    return files.plain_item(item, 0, "item"), files.wanted


def test_a_download_may_stand_anywhere() -> None:
    item, wanted = lifted(
        {
            "title": "x",
            "cover": Download("c.png", image=True),
            "parts": [{"pdf": Download("/p.pdf")}, None, (Download("//y.test/z"),)],
        }
    )
    assert item == {
        "title": "x",
        "cover": "http://x.test/a/c.png",
        "parts": [{"pdf": "http://x.test/p.pdf"}, None, ["http://y.test/z"]],
    }
    assert [(each.path, each.request.url, each.is_image) for each in wanted] == [
        (("cover",), "http://x.test/a/c.png", True),
        (("parts", 0, "pdf"), "http://x.test/p.pdf", False),
        (("parts", 2, 0), "http://y.test/z", False),
    ]


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("a.png", [("pictures",)]),
        (["a.png", "b.png"], [("pictures", 0), ("pictures", 1)]),
        (("a.png", None, "b.png"), [("pictures", 0), ("pictures", 2)]),
        ([["a.png"]], [("pictures", 0, 0)]),
        ([Download("a.png"), "b.png"], [("pictures", 1), ("pictures", 0)]),
        ([], []),
        (None, []),
    ],
)
def test_a_field_holds_a_url_or_a_list_of_them(value: object, paths: list[object]) -> None:
    _, wanted = lifted({"pictures": value}, images=("pictures", "others"))
    assert [each.path for each in wanted] == paths


@pytest.mark.parametrize("value", [5, {"url": "a.png"}, [5], True])
def test_a_field_of_something_else_is_an_error(value: object) -> None:
    with pytest.raises(ItemError, match=r"item\['pictures'\]|item\[0\]"):
        lifted({"pictures": value}, files=("pictures",))


def test_fields_that_are_not_named_stay() -> None:
    assert lifted({"link": "a.png"}, files=("pictures",)) == ({"link": "a.png"}, [])


PLACEHOLDERS = ["", "  ", "data:image/gif;base64,R0lGODlhAQABAAAAACw=", " DATA:,x"]


@pytest.mark.parametrize("url", PLACEHOLDERS)
def test_a_placeholder_in_a_field_is_no_file(url: str) -> None:
    """Pages that load pictures late are full of them."""
    fields = {"picture": url, "pictures": [url, "a.png", url]}
    item, wanted = lifted(fields, images=("picture", "pictures"))
    assert item == {"picture": None, "pictures": [None, "http://x.test/a/a.png", None]}
    assert [each.path for each in wanted] == [("pictures", 1)]


@pytest.mark.parametrize("url", PLACEHOLDERS)
def test_a_download_of_a_placeholder_fails(url: str) -> None:
    _, (wanted,) = lifted({"picture": Download(url)})
    assert problem_with(wanted.request.url) is not None


@pytest.mark.parametrize("url", [None, 5, b"http://x.test/"])
def test_a_download_needs_a_url(url: Any) -> None:
    with pytest.raises(ItemError):
        lifted({"file": Download(url)})


def test_a_download_in_a_set_or_in_a_step_is_none() -> None:
    with pytest.raises(ItemError):
        lifted({"files": (each for each in [Download("a")])})
    with pytest.raises(ItemError, match="Download, which JSON can't hold; the spider may"):
        plain({"file": Download("a")})


def key_of(download: str | Download, *, page: str = PAGE.url, **options: Any) -> bytes:
    download = Download(download) if isinstance(download, str) else download
    files = ItemFiles(page, **options)
    files.plain_item({"file": download}, 0, "item")
    return files.wanted[0].key


def test_one_answer_serves_all_that_are_alike() -> None:
    key = key_of("http://y.test/a.png")
    assert key_of("HTTP://Y.test:80/a.png#top") == key
    assert key_of("//y.test/a.png", page="http://z.test/") == key
    others = {
        key_of("http://y.test/b.png"),
        key_of(Download("http://y.test/a.png", image=True)),
        key_of(Download("http://y.test/a.png", headers={"Accept": "x"})),
        key_of("http://y.test/a.png", session="b"),
    }
    assert len(others | {key}) == 5


def test_only_a_private_pages_own_host_may_be_private() -> None:
    def allowed(url: str, *, may_be_private: bool) -> bool:
        _, (wanted,) = lifted({"file": Download(url)}, may_be_private=may_be_private)
        return wanted.may_be_private

    assert allowed("b.png", may_be_private=True)
    assert not allowed("http://x.test:8080/b.png", may_be_private=True)
    assert not allowed("http://169.254.169.254/b.png", may_be_private=True)
    assert not allowed("b.png", may_be_private=False)
    assert key_of("a", page=PAGE.url, may_be_private=True) != key_of("a", page=PAGE.url)


@given(st.text())
def test_any_text_is_wanted_or_fails_later(url: str) -> None:
    _, (wanted,) = lifted({"picture": Download(url)})
    assert len(wanted.key) == 16
    _, found = lifted({"picture": url}, images=("picture",))
    assert len(found) <= 1
