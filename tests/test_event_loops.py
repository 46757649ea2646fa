"""Crawls on event loops: in mode `async`, and inside worker processes."""

from __future__ import annotations

import json
import logging
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import crawler
from command_line import crawl, spider_file
from crawler import Response, demo, spider
from crawler.demo import PracticeSite
from crawler.errors import UsageError
from crawler.settings import resolve


@pytest.fixture
def alone() -> Iterator[PracticeSite]:
    """A practice site that nobody else asks."""
    with demo.start(port=0) as started:
        yield started


def stats_of(site: PracticeSite) -> dict[str, Any]:
    with urllib.request.urlopen(f"{site.url}/stats") as answer:
        counted: dict[str, Any] = json.load(answer)
    return counted


@spider()
def titles(response: Response) -> dict[str, Any]:
    """A page's title."""
    return {"title": response.css("title::text").get()}


@pytest.mark.parametrize("concurrency", [1, 8])
def test_connections_are_kept(alone: PracticeSite, concurrency: int) -> None:
    urls = [f"{alone.url}/gzip?{number}" for number in range(60)]
    result = crawler.run(titles, urls=urls, mode="async", concurrency=concurrency)
    assert result.stats.pages == 60
    counted = stats_of(alone)
    assert counted["requests"] == 60 + 1  # robots.txt
    assert counted["connections"] <= concurrency + 1


def test_each_worker_process_keeps_its_own(alone: PracticeSite, tmp_cwd: Path) -> None:
    spider_file(tmp_cwd / "page.py", "@spider()\ndef page(response):\n    return {}\n")
    urls = [f"{alone.url}/gzip?{number}" for number in range(60)]
    settings: dict[str, Any] = {
        "mode": "processes",
        "workers": 2,
        "concurrency": 8,
        "fetcher": "aiohttp",
    }
    assert crawler.run("page.py", urls=urls, **settings).stats.pages == 60
    assert stats_of(alone)["connections"] <= 8 + 1


def test_requests_in_flight_are_as_many_as_asked_for(alone: PracticeSite) -> None:
    urls = [f"{alone.url}/delay/0.2?{number}" for number in range(64)]
    began = time.monotonic()
    result = crawler.run(titles, urls=urls, mode="async", concurrency=64)
    assert result.stats.pages == 64
    assert time.monotonic() - began < 64 * 0.2 / 4  # one by one it takes 13 seconds


def test_a_spider_that_holds_up_the_loop_is_named_once(
    alone: PracticeSite, caplog: pytest.LogCaptureFixture
) -> None:
    @spider()
    def ponder(response: Response) -> dict[str, Any]:
        until = time.monotonic() + 0.51
        while time.monotonic() < until:
            pass
        return {"url": response.url}

    with caplog.at_level(logging.WARNING):
        result = crawler.run(
            ponder, urls=[f"{alone.url}/empty?{n}" for n in range(5)], mode="async"
        )
    assert result.stats.pages == 5
    told = [r.getMessage() for r in caplog.records if "all other pages waited" in r.getMessage()]
    assert len(told) == 1
    assert "threads suit it better" in told[0]


def test_a_spider_that_never_ends_costs_its_page(alone: PracticeSite) -> None:
    @spider()
    def stuck(response: Response) -> dict[str, Any]:
        while response.url.endswith("?3"):
            time.sleep(0.01)
        return {"url": response.url}

    result = crawler.run(
        stuck,
        urls=[f"{alone.url}/empty?{number}" for number in range(8)],
        mode="async",
        page_timeout=0.5,
        retries=0,
    )
    assert [item["url"][-1] for item in result.items] == list("0124567")
    assert [failure["kind"] for failure in result.failures] == ["page-timeout"]


def test_a_callback_that_is_async_itself_says_what_to_write(alone: PracticeSite) -> None:
    async def modern(response: Response) -> dict[str, Any]:
        return {"url": response.url}

    async def generator(response: Response) -> AsyncIterator[dict[str, Any]]:
        yield {"url": response.url}

    @spider()
    def plain(response: Response) -> Any:
        yield response.follow("/empty?1", callback=modern)
        yield response.follow("/empty?2", callback=generator)

    failures = crawler.run(plain, urls=[f"{alone.url}/empty"], mode="async").failures
    assert len(failures) == 2
    for failure in failures:
        assert "write a plain one: def, not async def" in failure["message"]


def test_it_runs_inside_a_running_loop(alone: PracticeSite) -> None:
    """As in a notebook."""
    import asyncio

    async def notebook() -> int:
        return crawler.run(titles, urls=[f"{alone.url}/empty"], mode="async").stats.pages

    assert asyncio.run(notebook()) == 1


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(UsageError, match=r"pip install 'crawl-in-order\[async\]'"):
        crawler.run(titles, urls=["http://127.0.0.1:9/"], mode="async")
    assert not resolve([("a test", {"mode": "processes"})]).event_loops


def test_the_fetcher_is_chosen_from_the_command_line(alone: PracticeSite, tmp_cwd: Path) -> None:
    spider_file(
        tmp_cwd / "who.py",
        "import sys\n@spider()\ndef who(response):\n"
        "    return {'aiohttp': 'aiohttp' in sys.modules}\n",
    )
    for fetcher, expected in (("requests", False), ("aiohttp", True), ("auto", True)):
        flags = ["--mode", "processes", "-j", "1", "--fetcher", fetcher, "-o", "-", "-q"]
        done = crawl("run", "who.py", "--urls", f"{alone.url}/empty", *flags)
        assert json.loads(done.stdout) == [{"aiohttp": expected}], done.stderr
