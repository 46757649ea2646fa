"""Calls written as text: the same as in Python, and nothing is run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.call import parse_call

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    positional=st.lists(values, max_size=3),
    named=st.dictionaries(st.sampled_from(["a", "limit", "漢"]), values, max_size=3),
)
def test_arguments_are_those_of_the_same_call_in_python(
    positional: list[Any], named: dict[str, Any]
) -> None:
    shown = [*map(repr, positional), *(f"{name}={value!r}" for name, value in named.items())]
    call = parse_call(f" shop.steps:cheap ({', '.join(shown)}) ")
    assert call.target == "shop.steps:cheap"
    assert (list(call.arguments), call.named) == (positional, named)
    assert parse_call(str(call)) == call


def test_without_brackets_there_are_no_arguments() -> None:
    call = parse_call("steps.py:cheap")
    assert (call.target, call.has_brackets, call.arguments) == ("steps.py:cheap", False, ())
    assert parse_call("cheap()").has_brackets


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' names nothing; write dedupe('id') or module:function"),
        ("('id')", "names nothing"),
        ("two words", "names nothing"),
        ("dedupe('id'", "can't be read; write it as in Python: dedupe('id')"),
        ("dedupe('id'))", "can't be read"),
        ("dedupe('id') + 1", "can't be read"),
        ("dedupe()('id')", "can't be read"),
        ("dedupe(id)", "id is no value; text stands in quotes: 'id'"),
        ("dedupe(open('x'))", "open('x') is no value"),
        ("dedupe(*['id'])", "*['id'] is no value"),
        ("dedupe(**{'a': 1})", "has **"),
        ("dedupe(" + "[" * 5_000 + ")", "can't be read"),
        ("dedupe('\0')", "can't be read"),
    ],
)
def test_what_can_not_be_read(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_call(text)
    assert complaint in str(caught.value)
