"""Steps change items or drop them, in order."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from crawler.errors import ItemError
from crawler.pipeline import Pipeline

Item = dict[str, Any]


def double(item: Item) -> Item:
    return {**item, "n": item["n"] * 2}


def add_one(item: Item) -> Item:
    item["n"] += 1
    return item


def drop_odd(item: Item) -> Item | None:
    return None if item["n"] % 2 else item


def test_without_steps_an_item_is_itself() -> None:
    item = {"n": 1}
    assert Pipeline().apply(item) is item


def test_steps_apply_in_order() -> None:
    assert Pipeline([double, add_one]).apply({"n": 1}) == {"n": 3}
    assert Pipeline([add_one, double]).apply({"n": 1}) == {"n": 4}


def test_a_dropped_item_is_not_seen_by_later_steps() -> None:
    seen = []

    def look(item: Item) -> Item:
        seen.append(item["n"])
        return item

    pipeline = Pipeline([drop_odd, look])
    assert [pipeline.apply({"n": n}) for n in (1, 2, 3)] == [None, {"n": 2}, None]
    assert seen == [2]


def test_a_step_may_keep_state() -> None:
    known = set()

    def once(item: Item) -> Item | None:
        if item["n"] in known:
            return None
        known.add(item["n"])
        return item

    pipeline = Pipeline([once])
    assert [pipeline.apply({"n": n}) for n in (1, 1, 2)] == [{"n": 1}, None, {"n": 2}]


def test_what_steps_make_is_plain() -> None:
    assert Pipeline([lambda item: {**item, "pair": (1, 2)}]).apply({}) == {"pair": [1, 2]}
    with pytest.raises(ItemError, match=r"item\['when'\] is a datetime.date"):
        Pipeline([lambda item: {"when": date(2026, 1, 1)}]).apply({})


@pytest.mark.parametrize("returned", [True, "text", [{}], 0])
def test_a_step_that_returns_something_else_is_named(returned: Any) -> None:
    def careless(item: Item) -> Any:
        return returned

    with pytest.raises(ItemError, match=f"step careless returned a {type(returned).__name__}; ret"):
        Pipeline([careless]).apply({})


def test_what_a_step_raises_comes_out() -> None:
    with pytest.raises(KeyError, match="n"):
        Pipeline([double]).apply({})
