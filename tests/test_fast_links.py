"""With the extra `fast`, links are found by lexbor: the same links on every page at hand."""

from __future__ import annotations

import codecs
import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import Response

pytest.importorskip("selectolax", reason="the extra `fast` is not installed")

URL = "https://example.org/list/1.html"
QIUSHIBAIKE = Path(__file__).parents[2] / "shared/data/qiushibaike"
DOCUMENTATION = Path("/usr/share/doc")


def both(body: bytes | str) -> Iterator[list[str]]:
    """The links as lexbor finds them, and as lxml does."""
    fast, slow = Response(URL, body), Response(URL, body)
    assert slow.selector is not None  # so the page is parsed already
    for page in (fast, slow):
        yield page.links()
    assert "selector" not in fast.__dict__
    assert "lexbor" not in slow.__dict__


def some(pages: list[Path], count: int) -> list[Path]:
    chosen = random.Random(1).sample(pages, min(count, len(pages)))
    return [page for page in chosen if page.is_file()]


@pytest.mark.parametrize("where", [QIUSHIBAIKE, DOCUMENTATION], ids=lambda path: path.name)
def test_links_of_real_pages_are_the_same(where: Path) -> None:
    pages = some(sorted(where.rglob("*.html")), 300)
    if not pages:
        pytest.skip(f"there are no pages in {where}")
    total = 0
    for page in pages:
        fast, slow = both(page.read_bytes())
        assert fast == slow, page
        total += len(fast)
    assert total > len(pages)


_tags = st.sampled_from(["a", "A", "area", "div", "p", "b", "li", "td", "h1", "span"])
_attributes = st.sampled_from(
    ["", " href", " href=2", " HREF='?p=3&amp;q=4'", ' href="/a b"', " href='#x'", " id=a href=é"]
)
_pieces = st.one_of(
    st.builds(lambda tag, attribute: f"<{tag}{attribute}>", _tags, _attributes),
    _tags.map(lambda tag: f"</{tag}>"),
    st.sampled_from(
        [
            "text",
            "<template><a href=no>x</a></template>",
            "<!-- <a href=no> -->",
            "<br/>",
            "\n",
            "&lt;a href=no>",
            "<base href=/b/>",
        ]
    ),
)


@given(st.lists(_pieces, max_size=12).map("".join))
def test_links_of_any_markup_are_the_same(markup: str) -> None:
    fast, slow = both(f"<!doctype html><title>x</title><body>{markup}")
    assert fast == slow


@pytest.mark.parametrize(
    "body",
    [
        codecs.BOM_UTF8 + b"<a href=\xe6\xb1\x89>1</a>",
        "<meta charset=gbk><a href=\u6c49>1</a>".encode("gbk"),
        b"<meta charset=utf-8><a href=\xff\xe6\xb1\x89>1</a>",
        "<a href=\u6c49>1</a>".encode("utf-16"),
        b"",
        b"\0<a href=2>",
    ],
    ids=["bom", "gbk", "broken utf-8", "utf-16", "empty", "nul"],
)
def test_links_are_the_same_whatever_the_charset(body: bytes) -> None:
    fast, slow = both(body)
    assert fast == slow


@pytest.mark.parametrize(
    ("page", "links"),
    [
        ("<svg><a xlink:href=/1></a><a href=/2 xlink:href=/3></a></svg><a href=/4>", ["/2", "/4"]),
        ("<template><base href=/x/><a href=1></a></template><a href=2>", ["2"]),
        ("<base xlink:href=/x/><a href=1>", ["1"]),
    ],
)
def test_only_href_in_the_page_itself_is_a_link(page: str, links: list[str]) -> None:
    expected = [urljoin(URL, link) for link in links]
    assert list(both(page)) == [expected] * 2


def test_a_page_can_be_read_by_lexbor() -> None:
    response = Response(URL, "<title>Hello</title><base href=/x/><a href=2>2</a>")
    title = response.lexbor.css_first("title")
    assert title is not None
    assert title.text() == "Hello"
    assert [request.url for request in response.follow_all()] == ["https://example.org/x/2"]
    assert response.urljoin("3") == "https://example.org/x/3"
    assert "selector" not in response.__dict__
