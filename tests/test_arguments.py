"""`-a key=value`: text becomes what the spider's annotations say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest

from crawler.arguments import convert_arguments, parse_argument
from crawler.errors import UsageError


def annotated(  # type: ignore[no-untyped-def]
    response: object,
    tag: str,
    count: int = 1,
    *,
    ratio: float = 0.5,
    deep: bool = False,
    order: Literal["new", "top", 3] = "new",
    words: list[str] | None = None,
    numbers: list[int] = [],  # noqa: B006
    limit: int | None = None,
    either: str | int = "",
    bare: Any = None,
    plain=None,
) -> None: ...


def convert(**given: Any) -> dict[str, Any]:
    converted = convert_arguments(annotated, {"tag": "art", **given})
    assert converted.pop("tag") == "art"
    return converted


# ---- key=value ----


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("tag=art", ("tag", "art")),
        ("query=a=b", ("query", "a=b")),
        ("tag=", ("tag", "")),
        ("tag= art ", ("tag", " art ")),
    ],
)
def test_an_argument_is_a_pair(text: str, pair: tuple[str, str]) -> None:
    assert parse_argument(text) == pair


@pytest.mark.parametrize("text", ["tag", "=art", "", "two words=1", "1=1", "my-tag=1"])
def test_anything_else_is_an_error_that_shows_the_form(text: str) -> None:
    with pytest.raises(UsageError, match=f"^-a {text}: write -a key=value"):
        parse_argument(text)


# ---- Values ----


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "12", 12),
        ("ratio", "2", 2.0),
        ("deep", "yes", True),
        ("deep", "TRUE", True),
        ("deep", "0", False),
        ("deep", "off", False),
        ("order", "top", "top"),
        ("order", "3", 3),
        ("words", "a, b ,,c", ["a", "b", "c"]),
        ("words", "none", None),
        ("numbers", "1,2", [1, 2]),
        ("numbers", "", []),
        ("limit", "5", 5),
        ("limit", "none", None),
        ("limit", "", None),
        ("either", "5", 5),  # str fits all, so it comes last
        ("either", "five", "five"),
        ("bare", "5", "5"),
        ("plain", "5", "5"),
    ],
)
def test_text_becomes_what_the_annotation_says(name: str, text: str, value: object) -> None:
    converted = convert(**{name: text})
    assert converted == {name: value}
    assert type(converted[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("count", "many", "a whole number"),
        ("count", "1.5", "a whole number"),
        ("ratio", "half", "a number"),
        ("deep", "maybe", "yes or no"),
        ("order", "old", "new or top or 3"),
        ("numbers", "1,x", "a comma-separated list, each a whole number"),
        ("limit", "x", "a whole number or none"),
    ],
)
def test_text_that_does_not_fit_is_an_error_in_words(name: str, text: str, wanted: str) -> None:
    with pytest.raises(UsageError, match=f"^-a {name}={text}: expected {wanted}$"):
        convert(**{name: text})


def test_what_is_no_text_stays_as_it_is() -> None:
    assert convert(count="1", words=("a",), limit=1.5) == {
        "count": 1,
        "words": ("a",),
        "limit": 1.5,
    }


def test_annotations_that_only_a_type_checker_knows_leave_text_alone() -> None:
    def spider(response: Missing, count: int = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert convert_arguments(spider, {"count": "3"}) == {"count": "3"}


# ---- Names ----


def no_arguments(response: object) -> None: ...


def any_arguments(response: object, tag: str, **others: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "given", "complaint"),
    [
        (annotated, {"tga": "x"}, "-a tga: the spider has no such argument; did you mean tag?"),
        (annotated, {"zzz": "x"}, "-a zzz: .*; it has tag, count, ratio"),
        (annotated, {"response": "x"}, "-a response: the spider has no such argument"),
        (annotated, {}, "the spider needs -a tag=..."),
        (no_arguments, {"tag": "x"}, "-a tag: the spider has no such argument; it takes none"),
        (any_arguments, {"more": "1"}, "the spider needs -a tag=..."),
    ],
)
def test_names_are_checked(
    function: Callable[..., Any], given: dict[str, str], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        convert_arguments(function, given)


def test_a_spider_may_take_any_names() -> None:
    assert convert_arguments(any_arguments, {"tag": "1", "more": "2"}) == {"tag": "1", "more": "2"}


def test_a_builtin_that_does_not_tell_its_parameters_is_an_error() -> None:
    with pytest.raises(UsageError, match="<class 'dict'> does not tell its parameters; wrap it"):
        convert_arguments(dict, {})
