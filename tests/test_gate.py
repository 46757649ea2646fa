"""Requests wait for their site's robots.txt, and go by it; on the practice site's own variants."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import crawler
from command_line import crawl, spider_file
from crawler import Response, demo, spider
from crawler.demo import PracticeSite

MODES = ["sequential", "threads", "processes", "async"]


@spider()
def pages(response: Response) -> Any:
    yield {"path": response.url.partition("/graph")[2] or response.url}
    yield from response.follow_all(css="a")


@pytest.fixture
def fresh() -> Iterator[PracticeSite]:
    """A practice site of the test's own."""
    with demo.start(port=0) as site:
        yield site


def has_robots(site: PracticeSite, kind: str) -> None:
    post(f"{site.url}/robots/{kind}")
    post(f"{site.url}/stats/reset")


def post(url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method="POST")) as answer:
        answer.read()


def stats(site: PracticeSite) -> Any:
    with urllib.request.urlopen(f"{site.url}/stats") as answer:
        return json.load(answer)


@pytest.mark.parametrize("mode", MODES)
def test_it_is_asked_for_once_and_before_any_page(fresh: PracticeSite, mode: str) -> None:
    urls = [f"{fresh.url}/empty?{number}" for number in range(20)]
    result = crawler.run(pages, urls=urls, mode=mode, workers=4)
    assert (result.stats.pages, result.stats.requests, result.stats.robots) == (20, 20, 1)
    with urllib.request.urlopen(f"{fresh.url}/requests") as answer:
        seen = [each["target"] for each in json.load(answer)]
    assert seen[0] == "/robots.txt"
    assert seen.count("/robots.txt") == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_forbidden_start_fails_and_a_forbidden_link_is_left_out(
    fresh: PracticeSite, mode: str
) -> None:
    """The site's usual rules forbid /private."""
    start = f"{fresh.url}/html/titled?text=/private%20/empty"
    follow = "hostile_spiders:follow"
    result = crawler.run(follow, urls=[start, f"{fresh.url}/private?1"], mode=mode)
    assert [item["url"] for item in result.items] == [start, f"{fresh.url}/empty"]
    (failure,) = result.failures
    assert failure["kind"] == "robots"
    assert "--ignore-robots" in failure["message"]
    assert result.stats.skipped == {"robots": 1}
    assert not [path for path in stats(fresh)["paths"] if path.startswith("/private")]


def test_it_can_be_ignored_and_the_log_says_so(fresh: PracticeSite, tmp_cwd: Path) -> None:
    has_robots(fresh, "deny")
    spider_file(tmp_cwd / "read.py", "@spider()\ndef read(response):\n    return {'a': 1}\n")
    done = crawl("run", "read.py", "--urls", f"{fresh.url}/empty", "--ignore-robots")
    assert done.returncode == 0, done.stderr
    assert "robots.txt is ignored" in done.stderr
    (run,) = tmp_cwd.glob("output/runs/read/2*/run.json")
    assert json.loads(run.read_text())["settings"]["robots"] is False
    assert "robots.txt is ignored" in run.with_name("run.log").read_text()
    assert stats(fresh)["robots"] == 0


ALLOWED, FORBIDDEN, UNKNOWN = None, "robots", "robots-unreachable"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("403", ALLOWED, id="r1-403"),
        pytest.param("404", ALLOWED, id="r1-404"),
        pytest.param("500", UNKNOWN, id="r2-500"),
        pytest.param("503", UNKNOWN, id="r2-503"),
        pytest.param("429", UNKNOWN, id="r3-429"),
        pytest.param("reset", UNKNOWN, id="r4-reset"),
        pytest.param("hang", UNKNOWN, id="r4-timeout"),
        pytest.param("redirect", FORBIDDEN, id="r5-redirect"),
        pytest.param("redirect-loop", ALLOWED, id="r5-loop"),
        pytest.param("bom", FORBIDDEN, id="r6-mark"),
        pytest.param("half-bom", FORBIDDEN, id="r6-half-mark"),
        pytest.param("utf-16", FORBIDDEN, id="r6-utf-16"),
        pytest.param("big", ALLOWED, id="r7-rule-behind-512-kib"),
        pytest.param("invalid-utf8", FORBIDDEN, id="r8"),
        pytest.param("html", ALLOWED, id="r9-page"),
        pytest.param("empty", ALLOWED, id="r9-empty"),
        pytest.param("stars", ALLOWED, id="l17-stars"),
    ],
)
def test_what_a_file_means(fresh: PracticeSite, kind: str, expected: str | None) -> None:
    has_robots(fresh, kind)
    retry = crawler.RetryPolicy(wait=lambda _: 0.01)
    result = crawler.run(
        pages, urls=[f"{fresh.url}/empty"], timeout=0.5, retry=retry, adaptive=False
    )
    found = result.failures[0]["kind"] if result.failures else None
    assert found == expected
    seen = stats(fresh)
    assert seen["pages"] == (1 if expected is ALLOWED else 0) + (kind == "redirect")
    if expected is UNKNOWN:
        assert seen["robots"] == 3, "the first attempt, and two retries"


def test_r11_a_crawl_delay_is_obeyed(fresh: PracticeSite) -> None:
    has_robots(fresh, "crawl-delay")
    result = crawler.run(pages, urls=[f"{fresh.url}/empty?{number}" for number in range(3)])
    assert result.stats.pages == 3
    assert result.stats.seconds >= 1.0, "twice half a second"


def test_each_port_has_its_own(fresh: PracticeSite, site: PracticeSite) -> None:
    has_robots(fresh, "deny")
    result = crawler.run(pages, urls=[f"{fresh.url}/empty", f"{site.url}/empty"])
    assert [item["path"] for item in result.items] == [f"{site.url}/empty"]
    assert [failure["url"] for failure in result.failures] == [f"{fresh.url}/empty"]


def test_pages_that_wait_for_it_keep_their_order() -> None:
    """The first site's rules come last; its pages are first in the output all the same."""
    others_are_done = threading.Event()
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(f"{self.headers['Host']}{self.path}")
            if self.headers["Host"].startswith("127.0.0.1") and self.path == "/robots.txt":
                assert others_are_done.wait(20)
            if sum("127.0.0.2" in each for each in asked) == 6:
                others_are_done.set()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        urls = [f"http://127.0.0.1:{server.server_port}/{n}" for n in range(5)]
        urls += [f"http://127.0.0.2:{server.server_port}/{n}" for n in range(5)]
        result = crawler.run(pages, urls=urls, concurrency=4)
        server.shutdown()
        thread.join()
    assert [item["path"] for item in result.items] == urls


def test_a_bare_function_is_not_held_back(fresh: PracticeSite) -> None:
    has_robots(fresh, "deny")
    result = crawler.run(lambda url: {"url": url}, urls=["a", "b"], mode="threads")
    assert [item["url"] for item in result.items] == ["a", "b"]
