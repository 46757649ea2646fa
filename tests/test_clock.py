"""The wall clock may jump (NTP, daylight saving, a hand); a crawl goes by the monotonic one."""

from __future__ import annotations

import ast
import itertools
import time
from pathlib import Path
from typing import Any

import pytest

import crawler
from conftest import REPOSITORY
from crawler import Response, demo, spider
from crawler.run import CrawlResult

PACKAGE = REPOSITORY / "crawler"

# Who may read the wall clock: cookies expire by it (RFC 6265), a Retry-After may be a date, the
# others note for people when something was.
BY_THE_WALL = {
    "cookies.py",
    "demo/plain.py",
    "file_store.py",
    "journal.py",
    "progress.py",
    "retry.py",
    "run_folder.py",
    "worker.py",
}


@spider()
def graph(response: Response) -> Any:
    yield {"path": response.url.partition("/graph/")[2]}
    yield from response.follow_all(css="a")


def crawl(output: str, **way: Any) -> CrawlResult:
    """With delays, retries, pauses and cookies."""
    with demo.start(port=0, jitter=0.01, fail=0.1) as site:
        urls = [
            f"{site.url}/graph/7/20/",
            f"{site.url}/flaky/a?fails=1&status=503",
            f"{site.url}/status/503?retry_after=1",
            f"{site.url}/cookies/set?a=1;Max-Age=60",
        ]
        return crawler.run(
            graph, urls=urls, output=output, deny="/(stats|requests)", retries=1, **way
        )


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[CrawlResult, bytes]:
    """What comes of it, and the output, by a clock that goes as it should."""
    output = tmp_path_factory.mktemp("calm") / "calm.json"
    return crawl(str(output), mode="threads", workers=4), output.read_bytes()


@pytest.mark.parametrize(
    "way",
    [
        {"mode": "sequential", "delay": 0.005},
        {"mode": "threads", "workers": 4, "delay": 0.005},
        {"mode": "processes", "workers": 2, "concurrency": 4},
    ],
    ids=lambda way: "-".join(map(str, way.values())),
)
def test_f26_b7_a_clock_that_jumps_changes_nothing(
    way: dict[str, Any], calm: tuple[CrawlResult, bytes], tmp_cwd: Path
) -> None:
    """An hour forward or back at every reading."""
    found, written = calm
    real, real_ns = time.time, time.time_ns
    steps = itertools.cycle([0, 3_600, -3_600, 3_600])
    readings = 0

    def jumping() -> float:
        nonlocal readings
        readings += 1
        return real() + next(steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", jumping)
        patch.setattr(time, "time_ns", lambda: real_ns() + next(steps) * 10**9)
        began = time.monotonic()
        jumped = crawl("jumped.json", **way)
        took = time.monotonic() - began
    assert readings > 10
    assert Path("jumped.json").read_bytes() == written
    assert jumped.stats.pages == found.stats.pages >= 22
    assert jumped.stats.failures == found.stats.failures
    assert jumped.stats.skipped == found.stats.skipped
    assert 0 <= jumped.stats.seconds <= took < 60


def test_b7_only_what_is_for_people_goes_by_the_wall_clock() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {
                "time.time",
                "time.time_ns",
                "datetime.now",
                "datetime.utcnow",
            }:
                found.add(path.relative_to(PACKAGE).as_posix())
    assert found == BY_THE_WALL
