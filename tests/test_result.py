"""Items become plain JSON values, or an error that names the place."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import replace
from datetime import date
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import ItemError
from crawler.result import MAX_DEPTH, Failure, Result, plain


class Colour(IntEnum):
    RED = 1


class Shout(str):
    """A string that says something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


class Half(float):
    pass


Point = namedtuple("Point", "x y")


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# ---- What becomes plain ----


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1, 1),
        (-0.5, -0.5),
        ("汉字 😀\0", "汉字 😀\0"),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        (Colour.RED, 1),
        (Half(0.5), 0.5),
        (Shout("quiet"), "quiet"),
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, {"a": [1]}), {"a": [1]}),
        ({Shout("key"): 1}, {"key": 1}),
        ("\ud83d\ude00", "😀"),  # the two halves of a pair
        ("a\ud800b\udc00", "a\ufffdb\ufffd"),
        ({"\udc80": "\ufeff\ud800"}, {"\ufffd": "\ufeff\ufffd"}),
        (10**4000, 10**4000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain(value: object, expected: object) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


def test_keys_and_values_are_of_the_plain_types_throughout() -> None:
    found = plain({Shout("a"): [Shout("b"), Colour.RED, Half(1)]})
    ((key, (text, number, fraction)),) = found.items()
    assert [type(each) for each in (key, text, number, fraction)] == [str, str, int, float]


def test_a_string_from_a_soup_does_not_drag_its_page_along() -> None:
    soup = BeautifulSoup("<p>short</p>" + "<p>long</p>" * 1000, "lxml")
    item = plain({"text": soup.p.string})  # type: ignore[union-attr]
    assert item == {"text": "short"}
    assert len(pickle.dumps(item)) < 100


def test_an_item_is_copied() -> None:
    tags = ["a"]
    item = plain({"tags": tags})
    tags.append("b")
    assert item == {"tags": ["a"]}


# ---- What does not ----


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"x", "item is a bytes, which JSON can't hold; decode it to text first"),
        ({1}, "item is a set, which JSON can't hold; sort it into a list"),
        (
            date(2026, 1, 1),
            "item is a datetime.date, which JSON can't hold; use its .isoformat()",
        ),
        (
            Decimal(1),
            "which JSON can't hold; convert it to text, a number, a list or a dict",
        ),
        (1j, "item is a complex, which JSON can't hold; convert it to text"),
        (object(), "item is an object, which JSON can't hold"),
        (float("nan"), "item is nan, which JSON can't hold; use None"),
        (float("-inf"), "item is -inf, which JSON can't hold; use None"),
        ({1: "a"}, "item has the key 1 of type int; keys are strings"),
        ({None: "a"}, "item has the key None of type NoneType; keys are strings"),
        ({"a": {"b": [0, b"x"]}}, "item['a']['b'][1] is a bytes"),
        ({"a": {(1, 2): 1}}, "item['a'] has the key (1, 2) of type tuple"),
        ({"n": 10**5000}, "item['n'] is a number of over 4,000 digits; convert it to text"),
        ({"deep": nested(MAX_DEPTH)}, f"goes over {MAX_DEPTH} levels deep, or contains itself"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_names_the_place_and_the_type(value: object, message: str) -> None:
    with pytest.raises(ItemError) as caught:
        plain(value)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


def test_the_place_may_have_another_name() -> None:
    with pytest.raises(ItemError, match=r"^item\[3\]\['a'\] is a bytes"):
        plain({"a": b""}, "item[3]")


def test_what_contains_itself_is_an_error() -> None:
    knot: dict[str, Any] = {}
    knot["again"] = [knot]
    with pytest.raises(ItemError, match="contains itself"):
        plain(knot)


def test_the_deepest_item_can_be_written_and_travel() -> None:
    item = plain(nested(MAX_DEPTH))
    assert json.loads(json.dumps(item)) == item
    assert pickle.loads(pickle.dumps(item)) == item


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.text(st.characters(categories=["Cs", "Lu"])),
    st.binary(max_size=3),
    st.dates(),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.frozensets(st.integers(), max_size=2),
        st.dictionaries(st.one_of(st.text(st.characters()), st.integers()), inner, max_size=4),
    ),
    max_leaves=15,
)


@given(values)
def test_plain_gives_what_json_and_utf8_can_hold_or_an_item_error(value: object) -> None:
    try:
        found = plain(value)
    except ItemError:
        return
    encoded = json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(encoded) == found
    assert plain(found) == found


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
    )
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=15,
)


@given(json_values)
def test_what_is_plain_stays_as_it_is(value: object) -> None:
    assert plain(value) == value


# ---- Results ----


def test_results_and_failures_are_data_that_travels() -> None:
    failure = Failure("status", "the server answered 503", 503, retryable=True, retry_after=2.0)
    result = Result(items=[{"a": 1}], failure=failure, status=503, body_bytes=3)
    assert pickle.loads(pickle.dumps(result)) == result
    assert replace(result, failure=None) != result
