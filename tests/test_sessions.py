"""Cookies hold for the whole crawl, whichever worker got them, and stay where they belong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import crawler
from command_line import crawl, spider_file
from crawler import Request, Response, spider
from crawler.demo import PracticeSite

MODES = ["sequential", "threads", "processes", "async"]


@spider()
def welcome(response: Response) -> Any:
    """Log in, then follow to what is only for those who did."""
    token = response.css("input[name=token]::attr(value)").get()
    if token is not None:
        form = {"token": token, "user": "reader", "password": "practice"}
        yield Request(response.url, form=form, callback="inside", session=response.request.session)


def inside(response: Response) -> Any:
    yield {"url": response.url, "title": response.css("h1::text").get()}
    if "again" not in response.meta:
        for number in range(6):
            url = response.urljoin(f"/private?{number}")
            session = response.request.session
            yield Request(url, callback="inside", meta={"again": True}, session=session)


@spider()
def jar(response: Response) -> Any:
    yield {"cookies": response.json()} if response.url.endswith("/cookies") else None or {}


@pytest.mark.parametrize("mode", MODES)
def test_a_login_holds_for_all_workers(site: PracticeSite, mode: str) -> None:
    result = crawler.run(
        welcome, urls=[f"{site.url}/login"], mode=mode, workers=3, concurrency=3, robots=False
    )
    assert [item["title"] for item in result.items] == ["Welcome, reader"] * 7
    assert result.exit_code == 0


def test_without_cookies_nobody_is_let_in(site: PracticeSite) -> None:
    result = crawler.run(welcome, urls=[f"{site.url}/login"], robots=False, cookies=False)
    assert "Welcome, reader" not in [item["title"] for item in result.items]


def read(site: PracticeSite, *requests: Request) -> list[Any]:
    found = crawler.run(jar, urls=list(requests), mode="sequential")
    assert not found.failures
    return [item["cookies"] for item in found.items if item]


def test_each_session_has_its_own(site: PracticeSite) -> None:
    def here(path: str, session: str) -> Request:
        return Request(site.url + path, session=session)

    assert read(
        site,
        here("/cookies/set?who=anna%3B+Path%3D/", "a"),
        here("/cookies/set?who=bert%3B+Path%3D/", "b"),
        here("/cookies", "a"),
        here("/cookies", "b"),
        here("/cookies", ""),
    ) == [{"who": "anna"}, {"who": "bert"}, {}]


def test_s1_a_cookie_given_by_hand_is_sent_with_those_that_were_set(site: PracticeSite) -> None:
    assert read(
        site,
        Request(f"{site.url}/cookies/set?a=1%3B+Path%3D/&b=2%3B+Path%3D/"),
        Request(f"{site.url}/cookies", headers={"cookie": "b=mine; c=3"}),
        Request(f"{site.url}/cookies?#", dont_filter=True),
    )[:1] == [{"a": "1", "b": "mine", "c": "3"}]


def test_h27_a_flood_of_cookies_is_bounded(site: PracticeSite) -> None:
    (found,) = read(
        site,
        Request(f"{site.url}/cookies/flood?n=60"),
        Request(f"{site.url}/cookies"),
    )
    assert sum(len(name) + len(value) + 3 for name, value in found.items()) <= 8192


def test_a_login_survives_a_resume(site: PracticeSite, tmp_cwd: Path) -> None:
    spider_file(
        tmp_cwd / "jar.py",
        "@spider()\ndef jar(response):\n"
        "    return {'cookies': response.json()} if response.url.endswith('/cookies') else None\n",
    )
    urls = tmp_cwd / "urls.txt"
    urls.write_text(
        f"{site.url}/cookies/set?who=anna%3B+Path%3D/\n{site.url}/status/500\n{site.url}/cookies\n"
    )
    common = ["--mode", "sequential", "--retries", "0"]
    done = crawl("run", "jar.py", "--urls", str(urls), *common, "--max-failures", "1")
    assert done.returncode == 6, done.stderr
    done = crawl("resume", "--max-failures", "9")
    assert done.returncode == 3, done.stderr
    assert json.loads(Path("output/jar.json").read_text()) == [{"cookies": {"who": "anna"}}]
