"""Steps change items or drop them, in order; some are told when a crawl begins and ends."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from crawler.call import parse_call
from crawler.errors import CrawlError, ItemError, OutputError, UsageError
from crawler.pipeline import Pipeline, make_steps
from crawler.step import Context, Page, step_name
from crawler.wording import kind_of

Item = dict[str, Any]

PAGE = Page("http://h/7", 3, datetime(2026, 11, 23, 1, 48, tzinfo=UTC))


class Kept(list[Any]):
    """Notes that are only in memory."""

    def add(self, value: object) -> None:
        self.append(value)


def context(name: str = "", **more: Any) -> Context:
    """What a step is told at the beginning of a crawl."""
    values: dict[str, Any] = {
        "run_name": "posts",
        "run_id": "1",
        "is_resumed": False,
        "notes": Kept(),
        "spider": context,
        "item_type": None,
        "load": no_module,
    }
    return Context(**{**values, **more})


def no_module(reference: str) -> Any:
    raise UsageError(f"there is no module of {reference}")


def double(item: Item) -> Item:
    return {**item, "n": item["n"] * 2}


def add_one(item: Item) -> Item:
    item["n"] += 1
    return item


def drop_odd(item: Item) -> Item | None:
    return None if item["n"] % 2 else item


def test_without_steps_an_item_is_itself() -> None:
    item = {"n": 1}
    assert Pipeline().apply(item, PAGE) is item


def test_steps_apply_in_order() -> None:
    assert Pipeline([double, add_one]).apply({"n": 1}, PAGE) == {"n": 3}
    assert Pipeline([add_one, double]).apply({"n": 1}, PAGE) == {"n": 4}


def test_what_a_step_changes_in_place_is_not_the_item_of_the_spider() -> None:
    def spoil(item: Item) -> Item:
        item["tags"].append("b")
        item["author"]["books"][0]["n"] = 2
        del item["title"]
        return item

    item = {"title": "t", "tags": ["a"], "author": {"books": [{"n": 1}]}}
    assert Pipeline([spoil]).apply(item, PAGE) == {
        "tags": ["a", "b"],
        "author": {"books": [{"n": 2}]},
    }
    assert item == {"title": "t", "tags": ["a"], "author": {"books": [{"n": 1}]}}


def test_a_dropped_item_is_not_seen_by_later_steps() -> None:
    seen = []

    def look(item: Item) -> Item:
        seen.append(item["n"])
        return item

    pipeline = Pipeline([drop_odd, look])
    assert [pipeline.apply({"n": n}, PAGE) for n in (1, 2, 3)] == [None, {"n": 2}, None]
    assert seen == [2]


def test_a_step_may_keep_state() -> None:
    known = set()

    def once(item: Item) -> Item | None:
        if item["n"] in known:
            return None
        known.add(item["n"])
        return item

    pipeline = Pipeline([once])
    assert [pipeline.apply({"n": n}, PAGE) for n in (1, 1, 2)] == [{"n": 1}, None, {"n": 2}]


def test_what_steps_make_is_plain() -> None:
    assert Pipeline([lambda item: {**item, "pair": (1, 2)}]).apply({}, PAGE) == {"pair": [1, 2]}
    with pytest.raises(ItemError, match=r"item\['when'\] is a datetime.date"):
        Pipeline([lambda item: {"when": date(2026, 1, 1)}]).apply({}, PAGE)


@pytest.mark.parametrize("returned", [True, "text", [{}], 0])
def test_a_step_that_returns_something_else_is_named(returned: Any) -> None:
    def careless(item: Item) -> Any:
        return returned

    with pytest.raises(ItemError, match=f"careless returned {kind_of(returned)}; return"):
        Pipeline([careless]).apply({}, PAGE)


def test_what_a_step_raises_comes_out() -> None:
    with pytest.raises(KeyError, match="n"):
        Pipeline([double]).apply({}, PAGE)


def test_a_failed_item_is_as_the_spider_gave_it() -> None:
    def spoil(item: Item) -> Item:
        item["n"] = None
        raise ValueError

    item = {"n": 1}
    with pytest.raises(ValueError) as caught:
        Pipeline([spoil]).apply(item, PAGE)
    assert item == {"n": 1}
    (note,) = caught.value.__notes__
    assert note.startswith("in the step test_pipeline:")
    assert note.endswith(".spoil")


def test_a_step_is_called_as_one_would_type_it() -> None:
    class Own:
        __module__ = "crawled_shop"
        __qualname__ = "Own"

        def __call__(self, item: Item) -> Item:
            return item

    assert step_name(double) == "test_pipeline:double"
    assert step_name(Own()) == "shop.py:Own"


# ---- Pages ----


def test_a_step_that_names_a_page_is_given_it() -> None:
    def where(item: Item, page: Page) -> Item:
        return {**item, "url": page.url, "rank": page.rank}

    class Where:
        def __call__(self, item: Item, *, page: Page) -> Item:
            return where(item, page)

    def limited(item: Item, limit: int = 3) -> Item:
        return {**item, "limit": limit}

    for step in (where, Where(), functools.partial(where)):
        assert Pipeline([step]).apply({}, PAGE) == {"url": "http://h/7", "rank": 3}
    assert Pipeline([limited]).apply({}, PAGE) == {"limit": 3}


# ---- When a crawl begins and ends ----


class Hooks:
    """A step that tells what it is told; `fails` names what it can't do."""

    def __init__(self, told: list[str], name: str, fails: str = "") -> None:
        self._told, self._name, self._fails = told, name, fails

    def _tell(self, what: str) -> None:
        self._told.append(f"{self._name} {what}")
        if what == self._fails:
            raise ConnectionError("the database is away")

    def open(self, context: Context) -> None:
        self._tell("open")

    def __call__(self, item: Item) -> Item:
        return item

    def sync(self) -> None:
        self._tell("sync")

    def close(self) -> None:
        self._tell("close")


def test_hooks_are_called_in_order_and_closed_the_last_one_first() -> None:
    told: list[str] = []
    pipeline = Pipeline([Hooks(told, "a"), double, Hooks(told, "b")])
    pipeline.open(context)
    pipeline.sync()
    pipeline.close()
    pipeline.close()
    assert told == ["a open", "b open", "a sync", "b sync", "b close", "a close"]


def test_a_step_that_can_not_begin_is_named_and_the_others_are_closed() -> None:
    told: list[str] = []
    pipeline = Pipeline([Hooks(told, "a"), Hooks(told, "b", "open"), Hooks(told, "c")])
    with pytest.raises(UsageError) as caught:
        pipeline.open(context)
    assert str(caught.value) == (
        "the step test_pipeline:Hooks #2 can't begin: ConnectionError: the database is away; "
        "nothing was fetched"
    )
    assert told == ["a open", "b open", "a close"]


@pytest.mark.parametrize("hook", ["sync", "close"])
def test_a_step_that_can_not_make_safe_what_it_has_ends_the_crawl(hook: str) -> None:
    told: list[str] = []
    pipeline = Pipeline([Hooks(told, "a"), Hooks(told, "b", hook)])
    pipeline.open(context)
    with pytest.raises(OutputError, match=r"Hooks #2 can.t .*: ConnectionError: "):
        getattr(pipeline, hook)()
    pipeline.close() if hook == "sync" else None
    assert told[-2:] == ["b close", "a close"], "the others are told all the same"


def test_two_steps_of_one_name_have_notes_of_their_own() -> None:
    names: list[str] = []

    def note(name: str) -> Context:
        names.append(name)
        return context()

    told: list[str] = []
    Pipeline([("x()", Hooks(told, "")), ("x()", Hooks(told, "")), ("y", Hooks(told, ""))]).open(
        note
    )
    assert names == ["x()", "x() #2", "y"]


# ---- What steps are called ----


def make_cheap(limit: int, *, field: str = "price") -> Callable[[Item], Item | None]:
    def cheap(item: Item) -> Item | None:
        return item if item[field] <= limit else None

    return cheap


async def later(item: Item) -> Item:
    return item


OWN = {
    "m:double": double,
    "shop/steps.py:make_cheap": make_cheap,
    "m:Hooks": Hooks,
    "m:later": later,
    "m:number": 3,
    "m:make_nothing": lambda: None,
    "m:make_trouble": lambda: 1 // 0,
}


def load(reference: str) -> Any:
    return OWN[reference] if reference in OWN else no_module(reference)


@pytest.mark.parametrize(
    ("text", "item", "made"),
    [
        ("m:double", {"n": 2}, {"n": 4}),
        ("shop/steps.py:make_cheap(10)", {"price": 11}, None),
        ("shop/steps.py:make_cheap(limit = 10, field='cost')", {"cost": 10}, {"cost": 10}),
        ("strip_space", {"a": " b  c "}, {"a": "b c"}),
        ("strip_space()", {"a": " b  c "}, {"a": "b c"}),
        ("""rename({"a b": 'c'})""", {"a b": 1}, {"c": 1}),
        ("select('b', 'a')", {"a": 1, "b": 2, "c": 3}, {"b": 2, "a": 1}),
    ],
)
def test_text_names_a_step_or_calls_what_makes_one(
    text: str, item: Item, made: Item | None
) -> None:
    for given in (text, parse_call(text)):
        steps = make_steps([given], load)
        assert steps[0][0] == text
        assert Pipeline(steps).apply(item, PAGE) == made


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            "dedup('id')",
            "there is no step dedup; did you mean dedupe, or your own module:function?",
        ),
        ("zzz", "there is no step zzz; did you mean one of convert, dedupe, "),
        ("require", "the step require: name fields, as text: require('title', 'url')"),
        ("require(drop=1, no=2)", "the step require(drop=1, no=2): got an unexpected keyword arg"),
        ("dedupe(7)", "the step dedupe(7): 7 is no name of a field"),
        (
            "convert(a='money')",
            "a: there is no kind 'money'; there are int, float, str, bool, json",
        ),
        ("provenance('_name')", "'_name' is none of _url, _rank, _fetched_at"),
        ("shop/steps.py:make_cheap()", "make_cheap(): missing a required argument: 'limit'"),
        ("m:Hooks", "the step m:Hooks is a class: write m:Hooks(), with what it needs"),
        ("m:later", "the step m:later is an async function; write a plain one"),
        ("m:number", "the step m:number is an int, which can't be called"),
        ("m:make_nothing()", "the step m:make_nothing() is a NoneType, which can't be called"),
        ("m:make_trouble()", "the step m:make_trouble() can't be made: ZeroDivisionError: "),
        ("m:nobody", "there is no module of m:nobody"),
        (Hooks, "the step test_pipeline:Hooks is a class: write test_pipeline:Hooks(), with wh"),
        ("dedupe(id)", """a step can't be used: 'dedupe(id)': id is no value; text stands in"""),
    ],
)
def test_what_is_no_step_is_an_error(given: Any, complaint: str) -> None:
    with pytest.raises(CrawlError) as caught:
        make_steps([given], load)
    assert complaint in str(caught.value)
    assert caught.value.exit_code == 2
