"""Links of a page: as if each were joined by itself, only faster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.links import absolute_links, can_be_fetched, join

_WORDS = [
    "http:",
    "https:",
    "mailto:",
    "a",
    "b.html",
    "x=1",
    "h.test",
    ":80",
    "%20",
    "é",
    "%2e",
    "\\\\",
]
_MARKS = ["/", "//", ".", "..", "?", "#", ";", "&", "[", " ", "\t", "\n", "\0"]
texts = st.lists(st.sampled_from(_WORDS + _MARKS), max_size=7).map("".join)
bases = st.one_of(
    st.just("http://h.test"),
    texts.map("http://h.test/".__add__),
    texts.map("https://h.test/d/e/".__add__),
    texts.map("http://h.test".__add__),
)


@given(bases, st.lists(texts, max_size=3), st.booleans())
def test_they_are_what_joining_each_by_itself_gives(
    base: str, hrefs: list[str], keep_fragments: bool
) -> None:
    if not keep_fragments:
        hrefs = [href.partition("#")[0] for href in hrefs]
        base = base.partition("#")[0]
    joined = [join(base, href) for href in hrefs]
    expected = dict.fromkeys(url for url in joined if can_be_fetched(url))
    assert list(absolute_links(base, hrefs, keep_fragments=keep_fragments)) == list(expected)


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("?", "http://h.test/d/p?"),
        ("\\a", "http://h.test/a"),
        ("a\\b", "http://h.test/d/a/b"),
        ("\\\\o.test\\x", "http://o.test/x"),
        ("http:\\\\o.test\\y", "http://o.test/y"),
        ("http:///o.test/y", "http://o.test/y"),
        ("///o.test/z", "http://o.test/z"),
        ("https:/o.test/y", "https://o.test/y"),
        ("%2e%2E/x", "http://h.test/x"),
        ("a//b;c=1/../;", "http://h.test/d/a//;"),
        ("\u00a0x", "http://h.test/d/%C2%A0x"),
        ("é?é#é", "http://h.test/d/%C3%A9?%C3%A9#%C3%A9"),
        ("a\n\tb ", "http://h.test/d/ab"),
        ("", "http://h.test/d/p?q=1"),
        ("mailto:a@b.test", "mailto:a@b.test"),
        (" javascript:x( )", "javascript:x( )"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_hrefs_are_read_as_browsers_do(href: str, url: str) -> None:
    assert join("http://h.test/d/p?q=1#f", href) == url


def test_a_base_may_be_no_url_and_need_not_be_written_as_one() -> None:
    hrefs = ["http://o.test/x", "a"]
    assert list(absolute_links("page 1", hrefs)) == ["http://o.test/x"]
    assert list(absolute_links("HTTP://h.test/d/e/..", hrefs)) == [
        "http://o.test/x",
        "http://h.test/d/a",
    ]


def test_each_page_is_given_once() -> None:
    hrefs = ["2.html#top", "#end", "2.html", "/list/2.html#end", "?page=2", "mailto:a@b.test"]
    here = "https://h.test/list/1.html?page=1#here"
    assert list(absolute_links(here, hrefs)) == [
        "https://h.test/list/2.html",
        "https://h.test/list/1.html?page=1",
        "https://h.test/list/1.html?page=2",
    ]


def test_fragments_stay_where_they_make_a_page() -> None:
    hrefs = ["app#/1", "app#/2", "app#/1"]
    links = list(absolute_links("https://h.test/", hrefs, keep_fragments=True))
    assert links == ["https://h.test/app#/1", "https://h.test/app#/2"]
