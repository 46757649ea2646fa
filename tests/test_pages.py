"""What `--pages` and `--urls` mean: page numbers, templates and braces."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import Request
from crawler.pages import (
    MAX_PAGE,
    Pages,
    count_expanded,
    expand,
    paginate,
    parse_pages,
    urls_in,
)

# ---- Page numbers ----


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1", [1]),
        ("4", [1, 2, 3, 4]),
        (3, [1, 2, 3]),
        ("2-4", [2, 3, 4]),
        ("5-5", [5]),
        ("1,3,5", [1, 3, 5]),
        ("1,4-6", [1, 4, 5, 6]),
        ("7,2-3,7", [7, 2, 3, 7]),  # in the order they are named, as often as they are named
        (" 2 - 3 , 9 ", [2, 3, 9]),
        ("007-8", [7, 8]),
    ],
)
def test_pages(text: str | int, numbers: list[int]) -> None:
    pages = parse_pages(text)
    assert list(pages) == numbers
    assert pages.count() == len(numbers)


def test_until_empty_has_no_end_that_is_known() -> None:
    pages = parse_pages("until-empty")
    assert list(islice(pages, 3)) == [1, 2, 3]
    assert pages.count() is None
    assert str(pages) == "until-empty"


def test_pages_can_be_counted_from_the_first_again() -> None:
    pages = parse_pages("2-3")
    assert list(pages) == list(pages)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0", "0 pages is nothing to do; pages count from 1"),
        ("0-3", "there is no page 0"),
        ("1,0", "there is no page 0"),
        ("9-2", "'9-2' runs backwards; write 2-9"),
        ("", "'' names no pages; write 4 "),
        ("-3", "'-3' names no pages"),
        (-3, "'-3' names no pages"),
        ("4-", "names no pages"),
        ("1,,3", "'1,,3' names no pages"),
        ("all", "'all' names no pages; write 4 .*, 2-9, 1,3,5 or until-empty"),
        ("1.5", "names no pages"),
        ("٣", "names no pages"),
        (str(MAX_PAGE + 1), f"{MAX_PAGE + 1} is too large"),
        (f"1,3-{10**30}", "is too large"),
    ],
)
def test_what_names_no_pages_is_an_error_that_says_why(text: str | int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_pages(text)


@st.composite
def some_pages(draw: st.DrawFn) -> Pages:
    firsts = draw(st.lists(st.integers(1, 1000), min_size=1, max_size=5))
    return Pages(tuple(range(first, first + draw(st.integers(1, 20))) for first in firsts))


@given(some_pages())
def test_pages_written_out_and_read_again_are_the_same(pages: Pages) -> None:
    again = parse_pages(str(pages))
    assert list(again) == list(pages)
    assert again.count() == pages.count()


@given(st.text())
def test_any_other_text_is_a_value_error(text: str) -> None:
    complaint, first = "", 0
    try:
        first = next(iter(parse_pages(text)))
    except ValueError as error:
        complaint = str(error)
    assert complaint or first >= 1


# ---- Templates ----


def test_paginate_fills_in_page_and_arguments() -> None:
    requests = paginate("https://x/{tag}/{page:03d}/", [1, 20], {"tag": "art", "unused": 1})
    assert list(requests) == [
        Request("https://x/art/001/", meta={"page": 1}),
        Request("https://x/art/020/", meta={"page": 20}),
    ]


def test_paginate_takes_pages_only_as_it_goes() -> None:
    requests = paginate("https://x/{page}", parse_pages("until-empty"))
    assert next(requests).url == "https://x/1"
    assert next(requests).url == "https://x/2"


# ---- Braces ----


@pytest.mark.parametrize(
    ("pattern", "urls"),
    [
        ("http://x/", ["http://x/"]),
        ("http://x/{0..3}", ["http://x/0", "http://x/1", "http://x/2", "http://x/3"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{3..1}", ["3", "2", "1"]),
        ("{7..7}", ["7"]),
        ("{a,b,c}", ["a", "b", "c"]),
        ("x{,y}", ["x", "xy"]),
        ("{a,b}/{1..2}/", ["a/1/", "a/2/", "b/1/", "b/2/"]),
        ("{a}{}{1..}{page}", ["{a}{}{1..}{page}"]),  # no choice, so no braces of ours
        ("?q={1..2}&r=}{", ["?q=1&r=}{", "?q=2&r=}{"]),
    ],
)
def test_expand(pattern: str, urls: list[str]) -> None:
    assert list(expand(pattern)) == urls
    assert count_expanded(pattern) == len(urls)


def test_a_pattern_for_a_billion_urls_is_counted_and_begun_at_once() -> None:
    pattern = "https://x/{1..1000000000}/{a,b}"
    assert count_expanded(pattern) == 2_000_000_000
    assert list(islice(expand(pattern), 3)) == ["https://x/1/a", "https://x/1/b", "https://x/2/a"]


choice = st.one_of(
    st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda ends: f"{{{ends[0]}..{ends[1]}}}"),
    st.lists(st.text("abc/", max_size=3), min_size=2, max_size=4).map(
        lambda words: "{" + ",".join(words) + "}"
    ),
)


@given(st.lists(st.one_of(choice, st.text("xyz/.", max_size=4)), max_size=4).map("".join))
def test_expand_gives_as_many_urls_as_are_counted_and_leaves_no_braces(pattern: str) -> None:
    urls = list(islice(expand(pattern), 2000))
    assert len(urls) == min(2000, count_expanded(pattern))
    assert not any("{" in url or "}" in url for url in urls)


# ---- Files of URLs ----


def test_a_file_of_urls_may_have_blank_lines_and_comments() -> None:
    lines = ["# ours\n", "http://x/1\r\n", "\n", "  http://x/2#top  \n", "   # theirs"]
    assert list(urls_in(lines)) == ["http://x/1", "http://x/2#top"]
