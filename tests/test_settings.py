"""Settings: types, bounds, which source wins, and errors that say where to look."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import SettingError, UsageError
from crawler.pages import Pages, parse_pages
from crawler.retry import RetryPolicy
from crawler.settings import HostRule, Settings, from_environment, from_file, resolve
from crawler.thumbnail_rule import ThumbnailRule

NAMES = [field.name for field in fields(Settings)]


def one(name: str, value: object) -> Any:
    return getattr(resolve([("a test", {name: value})]), name)


# ---- Values ----


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mode", "processes", "processes"),
        ("mode", "my.module:Executor", "my.module:Executor"),
        ("workers", "4", 4),
        ("concurrency", 64, 64),
        ("concurrency", 64.0, 64),
        ("delay", 0, 0.0),
        ("delay", "1.5", 1.5),
        ("timeout", "1e1", 10.0),
        ("retries", 0, 0),
        ("pages", 3, Pages((range(1, 4),))),
        ("pages", "2-3", Pages((range(2, 4),))),
        ("pages", parse_pages("7"), parse_pages("7")),
        ("per_host", "3", 3),
        ("adaptive", False, False),
        ("adaptive", "off", False),
        ("adaptive", "True", True),
        ("hosts", {"*.Example.org": {"delay": "2"}}, {"*.example.org": HostRule(delay=2.0)}),
        ("hosts", {"x:80": HostRule(per_host=3)}, {"x:80": HostRule(per_host=3)}),
        ("images", ["pictures"], ("pictures",)),
        ("files", "pdf", ("pdf",)),
        ("min_image", "100x50", (100, 50)),
        ("thumbnails", {"small": (75, 75)}, {"small": ThumbnailRule((75, 75))}),
        ("thumbnails", {"s": "75x50"}, {"s": ThumbnailRule((75, 50))}),
        (
            "thumbnails",
            {"s": {"size": [9, 9], "how": "crop", "format": "webp"}},
            {"s": ThumbnailRule((9, 9), "crop", "webp")},
        ),
        (
            "thumbnails",
            {"s": ThumbnailRule((9, 9), "exact")},
            {"s": ThumbnailRule((9, 9), "exact")},
        ),
        ("user_agent", " mine/1.0 (+https://x) ", "mine/1.0 (+https://x)"),
        ("private_addresses", "deny", "deny"),
        ("max_page_items", "5", 5),
    ],
)
def test_values_may_be_text_or_of_the_right_type(name: str, value: object, expected: Any) -> None:
    found = one(name, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (10**9, 10**9),
        ("100000000", 10**8),
        ("500M", 500 * 2**20),
        ("1.5g", 3 * 2**29),
        ("65536K", 2**26),
    ],
)
def test_memory_is_bytes_or_thousands_of_them(value: object, size: int) -> None:
    layer = {"mode": "processes", "worker_memory": value}
    assert resolve([("a test", layer)]).worker_memory == size


def test_worker_memory_wants_processes_wherever_the_two_come_from() -> None:
    memory = ("crawl.toml", {"worker_memory": "1G"})
    with pytest.raises(SettingError, match=r"the mode is sequential \(from crawl.toml\)"):
        resolve([memory, ("--mode", {"mode": "sequential"})])
    assert resolve([memory, ("--mode", {"mode": "processes"})]).worker_memory == 2**30


def test_a_retry_policy_is_taken_as_it_is() -> None:
    policy = RetryPolicy()
    assert one("retry", policy) is policy


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "mode",
            "thread",
            "unknown mode 'thread'; choose sequential, threads, processes, async, or",
        ),
        ("mode", 3, "unknown mode 3"),
        ("workers", 0, "0 workers is too few; the least is 1"),
        ("workers", -1, "-1 workers is too few"),
        ("workers", True, "True is no number of workers"),
        ("workers", None, "None is no number of workers"),
        ("workers", "many", "'many' is no whole number of workers"),
        ("concurrency", 1.5, "1.5 is no whole number of requests"),
        ("concurrency", "1.5", "'1.5' is no whole number of requests"),
        ("concurrency", math.inf, "inf is no whole number of requests"),
        ("window", math.nan, "nan is no whole number of results"),
        ("window", 10**400, "is no whole number of results"),
        ("delay", -0.1, "-0.1 seconds is too few; the least is 0"),
        ("delay", "inf", "'inf' is no number of seconds"),
        ("timeout", "nan", "'nan' is no number of seconds"),
        ("timeout", 0, "0 seconds is too few; the least is 0.001"),
        ("timeout", "", "'' is no number of seconds"),
        ("pages", "0", "pages count from 1"),
        ("pages", 1.5, "1.5 names no pages"),
        ("pages", True, "True names no pages"),
        ("retry", 3, "3 is no RetryPolicy"),
        ("adaptive", "maybe", "'maybe' is neither true nor false"),
        ("adaptive", 1, "1 is neither true nor false"),
        ("hosts", "x", "'x' is no table of hosts; crawl.toml has them as [hosts."),
        ("hosts", {"http://x/": {}}, "'http://x/' is no host; write example.org, *.example.org"),
        ("allow_hosts", '["a"', """'["a"' is no host; write example.org, *.example.org"""),
        ("allow_hosts", ["[a"], "'[a' is no host"),
        ("hosts", {"x": 3}, "x: 3 is no table of delay and per_host"),
        ("images", [""], "'' is no text"),
        ("min_image", "100", "'100' is no size; write width x height in pixels, as 75x75"),
        ("thumbnails", "75x75", "'75x75' is no table of thumbnails; write them by name:"),
        ("thumbnails", {"../x": "9x9"}, "'../x' is no name for thumbnails: it becomes a folder"),
        ("thumbnails", {"s": 75}, "s: 75 is no size; write 75x75, or"),
        ("thumbnails", {"s": {"how": "fit"}}, "has size, how and format, and the size is missing"),
        ("thumbnails", {"s": {"size": "9x9", "x": 1}}, "has size, how and format, no 'x'"),
        ("thumbnails", {"s": {"size": "9x9", "how": "nice"}}, "s: 'nice' is no way to make"),
        ("hosts", {"x": {"dealy": 3}}, "x: a host has delay and per_host, no 'dealy'"),
        ("hosts", {"x": {"delay": -1}}, "x: delay: -1 seconds is too few"),
        ("hosts", {"x": {"per_host": 0}}, "x: per_host: 0 requests is too few"),
        ("hosts", {"x": {"org": {}}}, 'host with dots is written in quotes: [hosts."x.org"]'),
        ("user_agent", "", "'' is no line of text"),
        ("user_agent", "a\r\nX-Other: b", "is no line of text"),
        ("user_agent", "爬虫/1.0", "has characters that a header can't hold; use ASCII"),
        ("user_agent", None, "None is no line of text"),
        ("private_addresses", "never", "unknown rule 'never'; choose auto, allow or deny"),
        ("retry_statuses", "429,5xx", "'5xx' is no status; write numbers of 100 to 599, as in 429"),
        ("retry_statuses", [600], "600 is no status"),
        ("retry_statuses", 503, "503 is no list of statuses"),
        ("max_page_links", 0, "0 links is too few; the least is 1"),
        ("fetcher", "curl", "unknown fetcher 'curl'; choose auto, requests, aiohttp"),
        ("fetcher", "aiohttp", "aiohttp isn't for mode threads, use auto or requests"),
        ("worker_memory", "2T", "'2T' is no whole number of bytes"),
        ("worker_memory", "M", "'' is no number of bytes"),
        ("worker_memory", "infG", "'inf' is no number of bytes"),
        ("worker_memory", 1000, "1,000 bytes are too few; the least is 67,108,864"),
        ("worker_memory", "1M", "1,048,576 bytes are too few"),
        ("worker_memory", "2G", "only a process can be limited, and the mode is threads"),
    ],
)
def test_a_bad_value_is_an_error_that_names_setting_and_origin(
    name: str, value: object, problem: str
) -> None:
    with pytest.raises(SettingError) as caught:
        one(name, value)
    assert problem in caught.value.problem
    assert str(caught.value) == f"{name}: {caught.value.problem} (from a test)"
    assert (caught.value.name, caught.value.origin) == (name, "a test")


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
)


@given(st.sampled_from(NAMES), anything)
def test_any_value_is_taken_or_refused_by_name(name: str, value: object) -> None:
    complaint = f"{name}:  (from a test)"
    try:
        resolve([("a test", {name: value})])
    except SettingError as error:
        complaint = str(error)
    assert complaint.startswith(f"{name}: ")
    assert complaint.endswith(" (from a test)")


def test_an_unknown_setting_is_an_error_that_names_the_one_that_was_meant() -> None:
    with pytest.raises(SettingError, match=r"^timeuot: no such setting; did you mean timeout\?"):
        resolve([("crawl.toml", {"timeuot": 3})])


def test_an_unknown_setting_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(SettingError, match=r"^xyz: no such setting; there are") as caught:
        resolve([("crawl.toml", {"xyz": 3})])
    assert all(name in str(caught.value) for name in NAMES)


def test_every_setting_can_be_given() -> None:
    for name in NAMES:
        default = getattr(Settings(), name)
        if default is not None:
            assert one(name, default) == default


# ---- Layers ----


def test_the_last_layer_that_names_a_setting_wins() -> None:
    settings = resolve(
        [
            ("crawl.toml", {"timeout": 1, "delay": 1, "retries": 1}),
            ("the spider", {"delay": 2, "retries": 2}),
            ("flags", {"retries": 3}),
        ]
    )
    assert (settings.timeout, settings.delay, settings.retries) == (1.0, 2.0, 3)
    assert settings.concurrency == Settings().concurrency


def test_a_bad_value_is_an_error_even_if_a_later_layer_would_win() -> None:
    with pytest.raises(SettingError, match=r"\(from crawl.toml\)"):
        resolve([("crawl.toml", {"timeout": "soon"}), ("flags", {"timeout": 1})])


@pytest.mark.parametrize(
    ("given", "slots"),
    [
        ({}, 8),
        ({"mode": "sequential", "concurrency": 20}, 1),
        ({"mode": "threads", "concurrency": 20}, 20),
        ({"mode": "threads", "workers": 3}, 3),
        ({"mode": "processes", "workers": 2, "concurrency": 20}, 20),
        ({"mode": "processes", "workers": 9}, 9),  # no worker is without work
    ],
)
def test_slots(given: dict[str, Any], slots: int) -> None:
    assert Settings(**given).slots == slots


@pytest.mark.parametrize(
    ("given", "per_host"),
    [
        ({}, 8),
        ({"mode": "sequential"}, 8),
        ({"workers": 3}, 8),
        ({"workers": 16}, 16),  # who asks for 16 workers wants them at work on a single site too
        ({"mode": "processes", "workers": 2, "concurrency": 64}, 64),
        ({"workers": 16, "per_host": 8}, 8),
        ({"per_host": 2}, 2),
    ],
)
def test_slots_per_host(given: dict[str, Any], per_host: int) -> None:
    assert Settings(**given).slots_per_host == per_host


# ---- The file ----


def test_a_file_that_is_not_there_says_nothing(tmp_cwd: Path) -> None:
    assert from_file(Path("crawl.toml")) == ("crawl.toml", {})


def test_a_file_is_a_layer(tmp_cwd: Path) -> None:
    Path("crawl.toml").write_text('timeout = 3\npages = "2-3"\n', encoding="utf-8")
    settings = resolve([from_file(Path("crawl.toml"))])
    assert (settings.timeout, settings.pages) == (3.0, parse_pages("2-3"))


def test_a_file_has_tables_of_hosts(tmp_cwd: Path) -> None:
    Path("crawl.toml").write_text('[hosts."*.x.org"]\ndelay = 2\nper_host = 1\n', encoding="utf-8")
    settings = resolve([from_file(Path("crawl.toml"))])
    assert settings.hosts == {"*.x.org": HostRule(delay=2.0, per_host=1)}
    assert settings.as_json()["hosts"] == {"*.x.org": {"delay": 2.0, "per_host": 1}}


@pytest.mark.parametrize(
    ("content", "error", "complaint"),
    [
        (b"timeout 3", UsageError, "crawl.toml is no valid TOML: .*line 1"),
        (b"\xff\xfe", UsageError, "crawl.toml can't be read"),
        (b"timeout = 'x'", SettingError, r"timeout: 'x' is no number .*\(from crawl.toml\)"),
        (b"[crawl]\ntimeout = 3", SettingError, "crawl: no such setting"),
    ],
)
def test_what_is_wrong_in_a_file_is_an_error_that_names_it(
    tmp_cwd: Path, content: bytes, error: type[UsageError], complaint: str
) -> None:
    Path("crawl.toml").write_bytes(content)
    with pytest.raises(error, match=complaint):
        resolve([from_file(Path("crawl.toml"))])


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_cwd: Path) -> None:
    Path("crawl.toml").mkdir()
    with pytest.raises(UsageError, match=r"crawl.toml can't be read"):
        from_file(Path("crawl.toml"))


# ---- The environment ----


def test_the_environment_is_a_layer_of_the_names_it_knows() -> None:
    layers = from_environment(
        {"CRAWL_TIMEOUT": "3", "CRAWL_MAX_BODY": "10", "CRAWL_DEMO": "x", "TIMEOUT": "9"}
    )
    assert [values for _, values in layers] == [{"timeout": "3"}, {"max_body": "10"}]
    with pytest.raises(SettingError, match=r"timeout: .*\(from CRAWL_TIMEOUT in the environment"):
        resolve(from_environment({"CRAWL_TIMEOUT": "soon"}))


def test_a_variable_that_is_nearly_a_setting_is_refused() -> None:
    with pytest.raises(UsageError, match="CRAWL_TIMOUT; did you mean CRAWL_TIMEOUT"):
        from_environment({"CRAWL_TIMOUT": "3"})


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("CRAWL_ALLOW_HOSTS", "a.example", ("a.example",)),
        ("CRAWL_ALLOW_HOSTS", '["a.example", "B.example"]', ("a.example", "b.example")),
        ("CRAWL_ALLOW", "[0-9]+", ("[0-9]+",)),
        ("CRAWL_ALLOW", '["[0-9]+", "/a/"]', ("[0-9]+", "/a/")),
        ("CRAWL_STEPS", "dedupe('id')", ("dedupe('id')",)),
        ("CRAWL_STEPS", '["strip_space", "dedupe(\'id\')"]', ("strip_space", "dedupe('id')")),
        ("CRAWL_RETRY_STATUSES", "500,503", (500, 503)),
        ("CRAWL_HOSTS", '{"*.x": {"delay": 2}}', {"*.x": HostRule(delay=2.0)}),
        ("CRAWL_THUMBNAILS", '{"small": "75x50"}', {"small": ThumbnailRule((75, 50), "fit", None)}),
    ],
)
def test_several_values_and_tables_are_json_in_the_environment(
    variable: str, text: str, expected: Any
) -> None:
    name = variable.removeprefix("CRAWL_").lower()
    found = getattr(resolve(from_environment({variable: text})), name)
    assert (tuple(map(str, found)) if name == "steps" else found) == expected


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("CRAWL_HOSTS", "a.example", 'as JSON: {"*.example.org": {"delay": 2.0}}'),
        ("CRAWL_HOSTS", '{"a": ', "is no table of hosts"),
        ("CRAWL_HOSTS", '["a.example"]', "is no table of hosts"),
        ("CRAWL_THUMBNAILS", "75x75", "is no table of thumbnails; write them by name"),
        ("CRAWL_ALLOW_HOSTS", "a.example,b.example", "'a.example,b.example' is no host; write"),
        ("CRAWL_STEPS", "dedupe('id'), strip_space", "can't be read"),
        ("CRAWL_STEPS", "[1]", "1 is no step"),
        ("CRAWL_RETRY", "5", "is no RetryPolicy, which a spider or a call of run() gives"),
    ],
)
def test_what_the_environment_can_not_say_is_an_error(
    variable: str, text: str, complaint: str
) -> None:
    with pytest.raises(SettingError) as caught:
        resolve(from_environment({variable: text}))
    assert complaint in str(caught.value)
    assert f"(from {variable} in the environment)" in str(caught.value)


def test_the_real_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRAWL_KEEP_RUNS", "3")
    assert ("CRAWL_KEEP_RUNS in the environment", {"keep_runs": "3"}) in from_environment()
