"""The mark that `@spider` leaves, and what it says about a function."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import crawler
from crawler import Request, Response, spider
from crawler.spider import Options, is_marked, options_of, takes_response


def drop(item: dict[str, Any]) -> None:
    return None


def test_a_spider_is_the_function_it_was() -> None:
    def posts(response: Response) -> dict[str, Any]:
        """What it does."""
        return {"url": response.url}

    marked = spider(url="https://x/")(posts)
    assert marked is posts
    assert marked(Response("https://y/")) == {"url": "https://y/"}
    assert is_marked(marked)


def test_the_mark_holds_what_was_given() -> None:
    start = [Request("https://x/")]

    @spider(
        "https://x/{page}",
        name="mine",
        start=start,
        practice_site="closed",
        steps=[drop],
        pages=3,
        delay=0.5,
    )
    def posts(response: Response) -> None: ...

    assert options_of(posts) == Options(
        name="mine",
        url="https://x/{page}",
        start=start,
        practice_site="closed",
        steps=(drop,),
        settings={"pages": 3, "delay": 0.5},
    )


def test_a_bare_function_has_no_mark() -> None:
    assert not is_marked(drop)
    assert options_of(drop) == Options()


def test_the_brackets_must_not_be_forgotten() -> None:
    with pytest.raises(TypeError, match=r"write @spider\(\) with brackets"):
        spider(drop)  # type: ignore[arg-type]


# ---- Page or URL? ----


@spider()
def marked(page: Any) -> None: ...


def by_name(response): ...  # type: ignore[no-untyped-def]


def by_annotation(page: Response) -> None: ...


def by_dotted_annotation(page: crawler.Response) -> None: ...


def by_text(page: "crawler.Response") -> None: ...  # noqa: UP037


def by_class(page: Any) -> None: ...


by_class.__annotations__["page"] = Response  # as without `from __future__ import annotations`


def bare(url: str) -> None: ...


def unannotated(url): ...  # type: ignore[no-untyped-def]


def second(url: str, response: Response | None = None) -> None: ...


def nothing() -> None: ...


class CallableObject:
    def __call__(self, response: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (marked, True),
        (by_name, True),
        (by_annotation, True),
        (by_dotted_annotation, True),
        (by_text, True),
        (by_class, True),
        (CallableObject(), True),
        (bare, False),
        (unannotated, False),
        (second, False),
        (nothing, False),
        (functools.partial(bare), False),
        (dict, False),
    ],
    ids=lambda value: getattr(value, "__name__", str(type(value).__name__)),
)
def test_which_functions_get_the_page(function: Any, expected: bool) -> None:
    assert takes_response(function) is expected
