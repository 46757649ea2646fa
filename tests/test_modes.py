"""The promise: the same bytes in every mode, with any number of workers, whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

import crawler
from command_line import spider_file
from conftest import REPOSITORY
from crawler import demo
from crawler.demo import PracticeSite
from crawler.run import Crawl, crawling

QIUSHIBAIKE = str(REPOSITORY / "spiders" / "qiushibaike.py")

WAYS = [
    {"mode": "sequential"},
    {"mode": "threads", "workers": 1},
    {"mode": "threads", "workers": 3},
    {"mode": "threads", "workers": 16},
    {"mode": "processes", "workers": 1, "concurrency": 1},
    {"mode": "processes", "workers": 2, "concurrency": 8},
    {"mode": "processes", "workers": 3, "concurrency": 3},
    {"mode": "processes", "workers": 2, "concurrency": 8, "fetcher": "requests"},
    {"mode": "async", "concurrency": 1},
    {"mode": "async", "concurrency": 16},
]


def name_of(way: dict[str, Any]) -> str:
    return "-".join(map(str, way.values()))


@pytest.fixture(scope="module")
def rough_site() -> Iterator[PracticeSite]:
    """Random latency, and one request in ten fails at first."""
    with demo.start(port=0, jitter=0.05, fail=0.1) as site:
        yield site


@pytest.fixture(scope="module")
def expected(rough_site: PracticeSite, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("expected") / "posts.json"
    crawler.run(QIUSHIBAIKE, pages=13, site=rough_site.url, mode="sequential", output=file)
    return file.read_bytes()


@pytest.mark.parametrize("way", WAYS, ids=name_of)
def test_f22_every_mode_writes_the_same_bytes(
    way: dict[str, Any], rough_site: PracticeSite, expected: bytes, tmp_cwd: Path
) -> None:
    result = crawler.run(QIUSHIBAIKE, pages=13, site=rough_site.url, output="posts.json", **way)
    assert (result.exit_code, result.stats.pages, result.stats.items) == (0, 13, 325)
    assert (tmp_cwd / "posts.json").read_bytes() == expected


SOUPS = """
def soups(response):
    return {"title": str(response.soup.title)}

def selectors(response):
    return {"title": response.css("title").get()}
"""


@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "async"])
def test_what_soups_take_is_told_by_every_mode(
    mode: str, rough_site: PracticeSite, tmp_cwd: Path
) -> None:
    file = spider_file(tmp_cwd / "soups.py", SOUPS)
    urls = [f"{rough_site.url}/empty"]
    soups, selectors = (
        crawler.run(f"{file}:{name}", urls=urls, mode=mode).stats for name in ("soups", "selectors")
    )
    assert soups.soup_seconds > 0
    assert selectors.soup_seconds == 0


@pytest.mark.parametrize("way", WAYS[:1] + WAYS[3:4] + WAYS[5:6], ids=name_of)
def test_until_empty_finds_the_same_end(
    way: dict[str, Any], rough_site: PracticeSite, expected: bytes, tmp_cwd: Path
) -> None:
    result = crawler.run(
        QIUSHIBAIKE, pages="until-empty", site=rough_site.url, output="posts.json", **way
    )
    assert (result.exit_code, result.stats.pages) == (0, 13)
    assert (tmp_cwd / "posts.json").read_bytes() == expected


def test_killing_a_worker_process_changes_nothing(tmp_cwd: Path) -> None:
    """`kill -9` of each of the two worker processes while they hold pages."""
    with demo.start(port=0, latency=0.3) as site:
        calm = crawler.run(QIUSHIBAIKE, pages=13, site=site.url, mode="threads")
        with crawling(
            QIUSHIBAIKE,
            site=site.url,
            outputs=["posts.json"],
            keep_items=True,
            flags=[("test", {"pages": 13, "mode": "processes", "workers": 2, "concurrency": 4})],
        ) as crawl:
            killer = threading.Thread(target=_kill_workers, args=(crawl, 2))
            killer.start()
            result = crawl.run()
            killer.join()
    assert result.exit_code == 0
    assert result.stats.worker_deaths == 2
    assert result.items == calm.items


def _kill_workers(crawl: Crawl, times: int) -> None:
    """Kill a worker process that is at work, a few times, with time to recover between them."""
    killed: set[int] = set()
    give_up_at = time.monotonic() + 30
    while len(killed) < times and time.monotonic() < give_up_at:
        busy = crawl.block.read().totals.in_flight
        workers = [
            child.pid
            for child in psutil.Process().children(recursive=True)
            if child.pid not in killed and _is_worker(crawl, child.pid)
        ]
        if busy and workers:
            os.kill(workers[0], signal.SIGKILL)
            killed.add(workers[0])
            done = crawl.block.read().totals.done
            while crawl.block.read().totals.done == done and time.monotonic() < give_up_at:
                time.sleep(0.01)
        time.sleep(0.01)


def _is_worker(crawl: Crawl, pid: int) -> bool:
    executor: Any = crawl.engine._executor
    return pid in executor.pids()


SAVED = REPOSITORY.parent / "shared" / "data" / "qiushibaike" / "pages"


@pytest.mark.skipif(not SAVED.is_dir(), reason="the saved pages of 2020-11-03 are not here")
@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "async"])
def test_the_thirteen_real_pages(mode: str, tmp_cwd: Path) -> None:
    """13 requests and one for robots.txt, 325 posts; the same bytes in every mode."""
    with served(tmp_cwd / "www") as (url, log):
        result = crawler.run(QIUSHIBAIKE, pages=13, site=url, mode=mode, output="posts.json")
    assert sorted(log) == sorted(["/robots.txt", *(f"/text/page/{page}/" for page in range(1, 14))])
    assert result.exit_code == 0
    assert len({item["id"] for item in result.items}) == 325
    assert [item["page"] for item in result.items[::25]] == list(range(1, 14))
    assert (tmp_cwd / "posts.json").read_bytes() == as_json(result.items)


def as_json(items: list[Any]) -> bytes:
    return ("[\n" + ",\n".join(json.dumps(i, ensure_ascii=False) for i in items) + "\n]\n").encode()


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The saved pages at the paths they had: the site's URL, and the list of what was asked for."""
    for file in SAVED.glob("2020-11-03_text_p*.html"):
        place = folder / "text" / "page" / str(int(file.stem[-2:]))
        place.mkdir(parents=True)
        shutil.copy(file, place / "index.html")
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_request(self, *_: Any) -> None:
            asked.append(self.path)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()
