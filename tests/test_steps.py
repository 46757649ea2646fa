"""The steps that come with the package, each by itself; and in crawls that are killed."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import CRAWL, crawl, signal_all, spider_file
from crawler import Request, Response, demo, run
from crawler.errors import UsageError
from crawler.keys import Keys, digest_of
from crawler.step import Context, Step
from crawler.steps import (
    convert,
    dedupe,
    provenance,
    rename,
    require,
    select,
    strip_html,
    strip_space,
    validate,
)
from test_pipeline import PAGE, Kept, context

Item = dict[str, Any]


def fails(step: Step, item: Item) -> str:
    with pytest.raises(ValueError) as caught:
        step(item)
    return str(caught.value)


# ---- Fields ----


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_a_required_field_must_hold_something(value: object) -> None:
    for item in ({"a": 1, "b": value}, {"a": 1}):
        assert fails(require("a", "b"), item) == "the item has no b"
        assert require("a", "b", drop=True)(item) is None
    assert "no a and no b" in fails(require("a", "b"), {})
    for there in (0, False, " "):
        assert require("a")({"a": there}) == {"a": there}


def test_fields_are_selected_in_the_order_that_is_asked_for() -> None:
    selected = select("c", "a")({"a": 1, "b": 2, "c": None})
    assert list(selected or ()) == ["c", "a"]
    assert select("c", "a")({"b": 2}) == {}


def test_fields_are_renamed_in_their_places() -> None:
    renamed = rename(b="c")({"a": 1, "b": 2, "d": 3})
    assert list(renamed or ()) == ["a", "c", "d"]
    assert rename({"a": "b", "b": "a"})({"a": 1, "b": 2}) == {"b": 1, "a": 2}
    assert fails(rename(a="b"), {"a": 1, "b": 2}).endswith("two fields of one name then: a -> b")


# ---- Types ----


@pytest.mark.parametrize(
    ("kind", "value", "converted"),
    [
        ("int", " 12 ", 12),
        (int, "-3", -3),
        ("int", 3.0, 3),
        ("int", "3.0", 3),
        ("int", str(2**70), 2**70),
        ("int", "9007199254740993.0", 2**53 + 1),
        ("int", " -1e23", -(10**23)),
        ("int", "１２.0", 12),
        ("float", "1.5", 1.5),
        ("float", 2, 2.0),
        ("str", 1.5, "1.5"),
        ("str", True, "true"),
        ("str", ["汉"], '["汉"]'),
        ("bool", " Yes ", True),
        ("bool", 0, False),
        ("json", '{"a": [1]}', {"a": [1]}),
        ("json", 3, 3),
        ("date", "2026-11-23", "2026-11-23"),
        ("date", "20261123", "2026-11-23"),
        ("date:%d.%m.%Y", " 3.11.2026", "2026-11-03"),
        ("datetime", "2026-11-23 01:48", "2026-11-23T01:48:00"),
        ("datetime:%d.%m.%Y %H:%M %z", "3.11.2026 1:48 +0100", "2026-11-03T01:48:00+01:00"),
    ],
)
def test_values_are_converted(kind: str | type, value: object, converted: object) -> None:
    found = convert(a=kind)({"a": value, "b": "1"})
    assert found == {"a": converted, "b": "1"}
    assert type(found["a"]) is type(converted)
    assert convert(a=kind)({"a": None}) == {"a": None}
    assert convert(a=kind)({}) == {}


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("int", "1,234", "a: '1,234' is no number"),
        ("int", "1_000", "is no number"),
        ("int", "3.5", "is no whole number"),
        ("int", "9007199254740993.5", "is no whole number"),
        ("int", "1e-400", "is no whole number"),
        ("int", "1e-99999999999999999999", "is no whole number"),
        ("int", "1e400", "is no number that JSON can hold"),
        ("int", True, "is no whole number"),
        ("int", [1], "is no whole number"),
        ("int", "9" * 5_000, "a: '999"),
        ("float", "nan", "is no number that JSON can hold"),
        ("float", {}, "is no number"),
        ("bool", "maybe", "is neither true nor false"),
        ("json", "{", "is no JSON: "),
        ("date", "23.11.2026", "is no date (2026-11-23); say how it is written: date:%d.%m.%Y"),
        ("date:%d.%m.%Y", "2026-11-23", "isn't written as %d.%m.%Y"),
    ],
)
def test_what_can_not_be_converted_is_told(kind: str, value: object, problem: str) -> None:
    told = fails(convert(a=kind), {"a": value})
    assert problem in told
    assert len(told) < 300


# ---- Text ----


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a &amp; b &lt; c", "a & b < c"),
        ("<p>One<b>two</b>\n three</p><p>four</p>", "Onetwo three\nfour"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<ul><li>a</li><li>b", "a\nb"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</table>", "a b\nc"),
        ("a<script>x()</script><style>p{}</style><!-- no -->b", "ab"),
        ("<!-- nothing -->", ""),
        ("<", "<"),
        ("&nbsp;汉&nbsp;字 ", "汉 字"),
        ("<div>" * 5_000 + "deep", "deep"),
    ],
)
def test_markup_is_taken_out(markup: str, text: str) -> None:
    assert strip_html("a")({"a": markup, "b": "<b>"}) == {"a": text, "b": "<b>"}


def test_all_fields_are_stripped_if_none_is_named_also_inside_others() -> None:
    item = {"a": " <b>x</b> ", "b": [{"c": " <i>y</i>"}], "d": 1, "e": None}
    stripped = {"a": "x", "b": [{"c": "y"}], "d": 1, "e": None}
    assert strip_html()(item) == stripped
    assert strip_space()({"a": "\t a \n b\u00a0 "}) == {"a": "a b"}
    assert strip_space("b")({"a": " "}) == {"a": " "}


@given(st.text(st.sampled_from("<>/&;#!-ab '\"=\n汉") | st.characters(exclude_categories=["Cs"])))
def test_any_text_can_be_stripped(markup: str) -> None:
    stripped = strip_html()({"a": markup})
    assert isinstance((stripped or {})["a"], str)


# ---- Provenance ----


def test_provenance_is_that_of_the_page() -> None:
    assert provenance()({"a": 1}, page=PAGE) == {
        "a": 1,
        "_url": "http://h/7",
        "_rank": 3,
        "_fetched_at": "2026-11-23T01:48:00+00:00",
    }
    assert provenance("_rank")({}, page=PAGE) == {"_rank": 3}


def test_provenance_of_a_crawl(tmp_cwd: Path, site: demo.PracticeSite) -> None:
    before = time.time()
    result = run(
        lambda response: {"n": 1},
        urls=[f"{site.url}/redirect/1", f"{site.url}/headers"],
        steps=["provenance"],
    )
    assert [item["_rank"] for item in result.items] == [0, 1]
    assert result.items[0]["_url"] != f"{site.url}/redirect/1"
    assert result.items[1]["_url"] == f"{site.url}/headers"
    for item in result.items:
        fetched = datetime.fromisoformat(item["_fetched_at"]).timestamp()
        assert before - 1 < fetched <= time.time()


# ---- Validate ----


class Author(TypedDict):
    name: str
    age: NotRequired[int | None]


@dataclasses.dataclass
class Post:
    id: int
    title: str
    author: Author
    score: float = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)
    state: Literal["open", "closed"] = "open"

    def __post_init__(self) -> None:
        if self.id < 0:
            raise ValueError(f"{self.id} is no id")


@dataclasses.dataclass
class Comment:
    text: str
    answers: list[Comment] = dataclasses.field(default_factory=list)


POST: Item = {"id": 1, "title": "a", "author": {"name": "b"}}


def test_a_valid_item_has_its_defaults() -> None:
    expected = {**POST, "score": 0.0, "tags": [], "state": "open"}
    assert validate(Post)(POST) == expected
    assert validate(Post)({**POST, "score": 3})["score"] == 3
    assert validate(Author)({"name": "x", "age": None}) == {"name": "x", "age": None}
    nested = {"text": "a", "answers": [{"text": "b", "answers": []}]}
    assert validate(Comment)(nested) == nested


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": "1"}, "id is '1', no int"),
        ({"id": True}, "id is True, no int"),
        ({"id": -1}, "-1 is no id"),
        ({"title": None}, "title is None, no str"),
        ({"titel": "x"}, "item has 'titel', which Post doesn't have; did you mean 'title'?"),
        ({"score": "3"}, "score is '3', no float"),
        ({"tags": "x"}, "tags is 'x', no list"),
        ({"tags": ["x", 3]}, "tags[1] is 3, no str"),
        ({"state": "ajar"}, "state is 'ajar', none of 'open', 'closed'"),
        ({"author": {}}, "author has no 'name'"),
        ({"author": {"name": "x", "age": "3"}}, "author.age is '3', no int"),
        ({"author": None}, "author is None, no Author"),
        ({"id": None, "title": 3}, "id is None, no int; title is 3, no str"),
    ],
)
def test_an_invalid_item_fails_and_says_why(change: Item, problem: str) -> None:
    assert fails(validate(Post), {**POST, **change}) == problem


def test_what_is_missing_is_told() -> None:
    assert fails(validate(Post), {"author": {"name": "x"}}) == (
        "item has no 'id'; item has no 'title'"
    )


def a_list(response: Response) -> list[Post]:
    return []


def a_generator(response: Response) -> Iterator[Post | Request]:
    yield from ()


def either(response: Response) -> Iterator[Post | Comment] | None:
    return None


def nothing_said(response: Response) -> Iterator[dict[str, Any]]:
    yield from ()


def test_the_type_is_the_spiders() -> None:
    for spider in (a_list, a_generator, either):
        step = validate()
        step.open(context(spider=spider))
        assert step(POST)["state"] == "open"
        assert "id" in fails(step, {})
    assert step({"text": "x"}) == {"text": "x", "answers": []}
    step.open(context(spider=a_list, item_type=Comment))
    assert step({"text": "x"})
    named = validate("shop.items:Comment")
    named.open(context(load=lambda _: Comment))
    assert named({"text": "x"})


def test_a_spider_that_says_nothing_is_told_how_to() -> None:
    with pytest.raises(ValueError, match=r"nothing_said doesn't say what its items are; say it by"):
        validate().open(context(spider=nothing_said))


def test_a_type_that_json_can_not_hold_is_refused() -> None:
    @dataclasses.dataclass
    class Bad:
        when: set[str]

    with pytest.raises(ValueError, match=r"validate can't check set"):
        validate(Bad)


class Model:
    """As pydantic's are."""

    def __init__(self, values: Item) -> None:
        self._values = values

    @classmethod
    def model_validate(cls, values: Item) -> Model:
        if "id" not in values:
            raise ValueError("1 validation error for Model")
        return cls(values)

    def model_dump(self, *, mode: str) -> Item:
        assert mode == "json"
        return {**self._values, "made": True}


def test_a_class_that_validates_by_itself_does_so() -> None:
    assert validate(Model)({"id": 1}) == {"id": 1, "made": True}
    assert fails(validate(Model), {}) == "1 validation error for Model"


# ---- Dedupe ----


def test_the_first_item_of_a_key_stays() -> None:
    step = dedupe("a", "b")
    items: list[Item] = [
        {"a": 1},
        {"a": 1, "c": 2},
        {"a": "1"},
        {"a": 1, "b": 0},
        {"b": 1},
        {"a": 1},
    ]
    assert [item for item in items if step(item)] == [items[n] for n in (0, 2, 3, 4)]
    whole = dedupe()
    assert [bool(whole(item)) for item in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1})] == [
        True,
        False,
        True,
    ]


def test_items_without_a_key_all_stay() -> None:
    step = dedupe("id")
    assert [step(item) for item in ({"a": 1}, {"a": 1}, {"id": None})] == [
        {"a": 1},
        {"a": 1},
        {"id": None},
    ]


def test_a_new_crawl_begins_anew_and_a_resumed_one_with_what_it_knew() -> None:
    step, notes = dedupe("id"), Kept()
    step.open(context(notes=notes))
    assert step({"id": 1})
    assert not step({"id": 1})
    step.close()
    step.open(context())
    assert step({"id": 1}), "the same object, in the next crawl of the process"
    again = dedupe("id")
    again.open(context(notes=notes))
    assert not again({"id": 1})
    assert again({"id": 2})
    assert len(notes) == 2


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9))))
def test_keys_are_a_dict(puts: list[tuple[int, int]]) -> None:
    keys = Keys(memory=1024)
    known: dict[int, int] = {}
    for key, number in puts:
        assert keys.put(digest_of(key), number) == known.get(key)
        known[key] = number
    keys.close()


def test_keys_take_little_memory() -> None:
    """100,000 of them are 5 MB in SQLite's pages, of which it may hold one."""
    keys = Keys(memory=2**20)
    before = psutil.Process().memory_info().rss
    for number in range(100_000):
        assert keys.add(digest_of(number))
    assert not keys.add(digest_of(0))
    assert psutil.Process().memory_info().rss - before < 4 * 2**20
    keys.close()


# ---- In crawls ----

SPIDER = """
import time
from pathlib import Path

from crawler.step import Context

class Count:
    '''Gives each item a number, which it wants to know again.'''

    def open(self, context: Context):
        self.number, self.notes = 0, context.notes
        for self.number in context.notes:
            pass

    def __call__(self, item):
        self.number += 1
        self.notes.add(self.number)
        return {"number": self.number, **item}


def no_sevens(item):
    if item["key"] == 7:
        raise ValueError("a seven")
    return item


@spider(steps=["dedupe('key')", no_sevens, Count()])
def counts(response):
    number = int(response.url.rpartition("/")[2].partition("?")[0])
    while Path(f"wait-at-{number}").exists():
        time.sleep(0.01)
    for n in (number, number + 1):
        yield {"key": n * 7 % 31, "of": number}
    if number < 60:
        yield response.follow(f"/graph/1/100/page/{number + 1}?links=1")
"""


def counting(folder: Path, site: demo.PracticeSite) -> list[str]:
    spider_file(folder / "counts.py", SPIDER)
    url = f"{site.url}/graph/1/100/page/1?links=1"
    return [*CRAWL, "run", "counts.py", "--urls", url, "--max-failed", "9", "--resume"]


def committed(folder: Path) -> int:
    """Items at the last checkpoint."""
    files = folder.glob("output/runs/counts/2*/items.jsonl")
    return sum(file.read_bytes().count(b"\n") for file in files)


def test_f1_steps_with_state_are_the_same_after_kills(
    tmp_path: Path, site: demo.PracticeSite
) -> None:
    """Killed when it waits at a page, in the midst of what `dedupe` must know again."""
    once, here = tmp_path / "once", tmp_path / "here"
    subprocess.run(counting(once, site), cwd=once, capture_output=True, check=True)
    command = counting(here, site)
    waits = [here / f"wait-at-{number}" for number in (9, 16, 24)]
    for wait in waits:
        wait.touch()
    found = 0
    for wait in waits:
        process = subprocess.Popen(
            command, cwd=here, stderr=subprocess.PIPE, text=True, process_group=0
        )
        while committed(here) <= found:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        found = committed(here)
        signal_all(process, signal.SIGKILL)
        process.communicate()
        wait.unlink()
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stderr
    (output,) = here.glob("output/counts.json")
    assert output.read_bytes() == (once / "output/counts.json").read_bytes()
    for folder in (once, here):
        (failed,) = folder.glob("output/runs/counts/2*/failed.jsonl")
        assert [json.loads(line)["item"] for line in failed.read_bytes().splitlines()] == [
            {"key": 7, "of": 1}
        ]
    assert [item["number"] for item in json.loads(output.read_bytes())] == list(range(1, 31))


def test_a_retry_knows_the_items_that_are_there(tmp_cwd: Path, site: demo.PracticeSite) -> None:
    spider_file(
        tmp_cwd / "posts.py",
        """
from pathlib import Path

@spider(steps=["dedupe('n')"])
def posts(response):
    number = int(response.url[-1])
    if number == 2 and not Path("mended").exists():
        raise ValueError("not yet")
    yield {"n": 1, "of": number}
    yield {"n": number + 10}
""",
    )
    assert crawl("run", "posts.py", "--urls", f"{site.url}/headers?{{1..3}}").returncode == 3
    Path("mended").touch()
    assert crawl("retry", "posts").returncode == 0
    found = json.loads(Path("output/posts.json").read_bytes())
    assert found == [{"n": 1, "of": 1}, {"n": 11}, {"n": 12}, {"n": 13}]


# ---- Where they are listed, and what they are told ----

TELLING = """
import os, sys

class Telling:
    def __init__(self, name, fails=""):
        self.name, self.fails = name, fails

    def tell(self, what):
        print(self.name, what, file=sys.stderr, flush=True)
        if what == self.fails:
            raise ConnectionError("away")

    def open(self, context):
        self.tell(f"open resumed={context.is_resumed}")

    def __call__(self, item):
        return {**item, "by": [*item.get("by", []), self.name]}

    def sync(self):
        if self.fails == "sync":
            self.tell("sync")

    def close(self):
        self.tell("close")

def out_of_it(item):
    from crawler.errors import OutputError
    raise OutputError("nothing can be written any more")

@spider(steps=[Telling("decorator")])
def telling(response):
    yield {"n": 1}
"""


@pytest.fixture
def telling(tmp_cwd: Path, site: demo.PracticeSite) -> list[str]:
    """A crawl with a step in its decorator and one in crawl.toml."""
    spider_file(tmp_cwd / "telling.py", TELLING)
    Path("crawl.toml").write_text("""steps = ["telling.py:Telling('toml')"]\n""")
    return ["run", "telling.py", "--urls", f"{site.url}/headers"]


def by() -> list[str]:
    (item,) = json.loads(Path("output/telling.json").read_bytes())
    return list(item["by"])


def test_steps_of_the_decorator_come_first_then_those_of_the_setting(telling: list[str]) -> None:
    assert crawl(*telling).returncode == 0
    assert by() == ["decorator", "toml"]
    environment = {"CRAWL_STEPS": "telling.py:Telling('environment')"}
    assert crawl(*telling, **environment).returncode == 0
    assert by() == ["decorator", "environment"]
    flags = ("--step", "telling.py:Telling('a')", "--step", "telling.py:Telling(name='b')")
    assert crawl(*telling, *flags, **environment).returncode == 0
    assert by() == ["decorator", "a", "b"]


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ("dedup('n')", "no step dedup; did you mean dedupe, or your own module:function?"),
        ("telling.py:Teling('x')", "telling.py has no function Teling"),
        ("nowhere.py:x", "there is no file nowhere.py"),
        ("no_such_module:x", "there is no module no_such_module"),
        ("dedupe(n)", "'dedupe(n)': n is no value; text stands in quotes: 'n'"),
        ("validate", "the step validate can't begin: ValueError: telling doesn't say what its"),
    ],
)
def test_a_step_that_can_not_be_used_is_refused_before_anything_is_fetched(
    telling: list[str], step: str, complaint: str
) -> None:
    done = crawl(*telling, "--step", step)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert "(from --step)" in done.stderr or "can't begin" in done.stderr
    assert not list(Path().glob("output/runs/*/2*"))
    Path("crawl.toml").write_text(f"steps = [{json.dumps(step)}]")
    done = crawl(*telling)
    assert "(from crawl.toml)" in done.stderr or "can't begin" in done.stderr


def told(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.split(" ")[0] in ("decorator", "toml")]


def test_steps_are_told_of_the_end_also_when_the_crawl_goes_wrong(telling: list[str]) -> None:
    begin = ["decorator open resumed=False", "toml open resumed=False"]
    end = ["toml close", "decorator close"]
    assert told(crawl(*telling).stderr) == begin + end
    done = crawl(*telling, "--step", "telling.py:out_of_it")
    assert (done.returncode, told(done.stderr)) == (8, [begin[0], end[1]])
    assert "crawl: nothing can be written any more" in done.stderr
    again = crawl("resume", "--step", "telling.py:Telling('toml')")
    assert again.returncode == 0, again.stderr
    assert told(again.stderr)[:2] == [line.replace("False", "True") for line in begin]
    assert by() == ["decorator", "toml"]


@pytest.mark.parametrize("hook", ["sync", "close"])
def test_a_step_that_loses_what_it_was_given_is_no_success(telling: list[str], hook: str) -> None:
    done = crawl(*telling, "--step", f"telling.py:Telling('x', fails='{hook}')")
    assert done.returncode == 8
    assert f"the step telling.py:Telling('x', fails='{hook}') can't" in done.stderr
    assert "ConnectionError: away" in done.stderr
    assert not Path("output/telling.json").exists()
    assert crawl("resume", "--step", "telling.py:Telling('x')").returncode == 0
    assert by() == ["decorator", "x"]


def test_a_program_that_keeps_nothing_is_told_too(site: demo.PracticeSite) -> None:
    class Away:
        def open(self, context: Context) -> None:
            raise ConnectionError("away")

        def __call__(self, item: Item) -> Item:
            return item

    with pytest.raises(UsageError, match="can't begin: ConnectionError: away; nothing was fetched"):
        run(lambda response: {}, urls=[f"{site.url}/headers"], steps=[Away()])


def test_no_step_sees_what_is_behind_the_end(site: demo.PracticeSite) -> None:
    seen = []

    def look(item: Item) -> Item:
        seen.append(item["n"])
        return item

    def ten(response: Response) -> list[Item]:
        return [{"n": n} for n in range(10)]

    result = run(ten, urls=[f"{site.url}/headers"], steps=[look], max_items=3)
    assert [item["n"] for item in result.items] == seen == [0, 1, 2]
