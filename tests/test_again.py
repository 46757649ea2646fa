"""Failed pages fetched again: their items come to their places, whatever happens on the way."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crawler
from command_line import CRAWL, crawl, spider_file
from crawler import Request, Response
from crawler.again import FAILED, ITEMS, RETRIED, merged, put_back
from crawler.collector import Collector
from crawler.demo import PracticeSite
from crawler.errors import CrawlError, UsageError
from crawler.journal import JOURNAL, Journal
from crawler.result import Failure, Result
from journals import journal_in_memory
from test_engine import Lists, Shuffled, make_engine, number_of
from test_following import url
from test_resume import PowerCutError

DOWN = Failure("status", "the server answered 500", status=500)
Links = list[list[int]]

keys = count()
"""Of flaky pages: each test has its own."""

# ---- For any site, timing and crash ----


class Written(Lists):
    """A sink whose offsets are called as those of a run's files."""

    def sync(self) -> dict[str, int]:
        return {RETRIED: len(self.items), FAILED: len(self.failures)}

    def cut(self, offsets: dict[str, int]) -> None:
        del self.items[offsets.get(RETRIED, 0) :]
        del self.failures[offsets.get(FAILED, 0) :]


class Site:
    """Pages of some links each, some of which are down; may crash at one of its requests."""

    def __init__(self, links: Links, down: set[int]) -> None:
        self._links = links
        self._down = down
        self.asked: list[int] = []
        self.crash_at: int | None = None

    def answer(self, request: Request) -> Result:
        if self.crash_at is not None and len(self.asked) >= self.crash_at:
            raise PowerCutError
        number = number_of(request)
        self.asked.append(number)
        if number in self._down:
            return Result(failure=DOWN, status=500)
        items = [{"n": number, "of": of} for of in range(number % 3)]
        return Result(items=items, follow=[Request(url(link)) for link in self._links[number]])


def session(
    site: Site, journal: Journal, sink: Lists, starts: list[int], seed: int, **options: Any
) -> None:
    start = iter([Request(url(number)) for number in starts])
    engine, _ = make_engine(
        Shuffled(site.answer, seed), start, journal=journal, sink=sink, **options
    )
    engine.resume()
    assert engine.crawl()
    numbers = journal.state()["stats"]  # type: ignore[index]
    assert numbers["failed"] == sum(numbers["failures"].values())


def found(journal: Journal, old: Path, sink: Lists) -> list[Any]:
    """All items, in their places."""
    earlier = iter((old / ITEMS).read_bytes().splitlines())
    again = (json.dumps(item).encode() for item in sink.items)
    return [json.loads(line) for line in merged(journal.placed(), earlier, again, in_order=True)]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


@given(
    links=st.lists(st.lists(st.integers(0, 19), max_size=5), min_size=20, max_size=20),
    starts=st.lists(st.integers(0, 19), min_size=1, max_size=4, unique=True),
    down=st.sets(st.integers(0, 19), max_size=8),
    still_down=st.sets(st.integers(0, 19), max_size=2),
    have_links=st.booleans(),
    max_pages=st.none() | st.integers(1, 15),
    crashes=st.lists(st.integers(0, 12), max_size=3),
    slots=st.integers(1, 6),
    window=st.integers(1, 10),
    seed=st.integers(0, 10**6),
)
def test_what_is_found_again_is_where_it_belongs(
    place: Path,
    links: Links,
    starts: list[int],
    down: set[int],
    still_down: set[int],
    have_links: bool,
    max_pages: int | None,
    crashes: list[int],
    slots: int,
    window: int,
    seed: int,
) -> None:
    for each in place.iterdir():
        shutil.rmtree(each)
    if not have_links:
        links = [[] if number in down else each for number, each in enumerate(links)]
    still_down &= down

    # A run in which pages fail.
    old = place / "old"
    old.mkdir()
    sink = Lists()
    journal = Journal.create(old / JOURNAL, durable=False)
    session(Site(links, down), journal, sink, starts, seed, slots=slots, max_pages=max_pages)
    journal.close()
    failed = [record["rank"] for record in sink.failures]
    (old / ITEMS).write_text("".join(f"{json.dumps(item)}\n" for item in sink.items))
    (old / FAILED).write_text("".join(f"{json.dumps(record)}\n" for record in sink.failures))

    def retry(name: str, crashes: list[int], **options: Any) -> tuple[list[Any], list[Any], Site]:
        new = place / name
        new.mkdir()
        put_back(old, new, in_order=True, until_empty=False)
        site, sink = Site(links, still_down), Written()
        for crash_after in [*crashes, None]:
            journal = Journal.open(new / JOURNAL)
            sink.cut((journal.state() or {})["offsets"])
            site.crash_at = None if crash_after is None else len(site.asked) + crash_after
            with suppress(CrawlError):
                session(site, journal, sink, [], max_pages=max_pages, **options)
                everything = found(journal, old, sink)
                stats = (journal.state() or {})["stats"]
                journal.close()
                assert stats["items"] == len(everything)
                assert stats["failed"] == len(sink.failures)
                return everything, sink.failures, site
            assert crash_after is not None
            journal.close()
        raise AssertionError

    once, failures, site = retry("once", [], seed=0, slots=1)
    assert set(site.asked[: len(failed)]) <= down
    assert [record["rank"] for record in failures if record["rank"] in failed] == [
        record["rank"] for record in sink.failures if number_of_url(record["url"]) in still_down
    ]

    # Neither timing nor crashes change it.
    again, failures_again, _ = retry(
        "again", crashes, seed=seed, slots=slots, window=window, checkpoint_every=0.0
    )
    assert (again, failures_again) == (once, failures)

    # If the failed pages lead nowhere, all is as if they had not failed.
    if not have_links:
        undisturbed = Lists()
        session(
            Site(links, still_down),
            journal_in_memory(),
            undisturbed,
            starts,
            seed,
            max_pages=max_pages,
        )
        assert (once, failures) == (undisturbed.items, undisturbed.failures)


def number_of_url(url: str) -> int:
    return int(url.rpartition("/")[2])


def test_the_window_is_counted_in_pages_that_are_left() -> None:
    """Failed pages lie far apart; were ranks counted, they would be fetched one by one."""
    collector = Collector(window=3, window_bytes=10**9)
    collector.resume(1_000_000, [5, 400_000, 999_999])
    assert collector.head == 5
    assert collector.max_rank >= 999_999


# ---- With the real commands ----

# Some of its pages fail the first time.
FLAKY = """
@spider()
def flaky(response, *, key: str, pages: int = 20, every: int = 3):
    for number in range(pages):
        fails = 1 if number % every == 1 else 0
        path = f"/flaky/{key}-{number}?fails={fails}"
        yield response.follow(path, callback=detail, meta={"n": number})
    yield {"start": response.url}

def detail(response):
    for of in range(response.meta["n"] % 4):
        yield {"n": response.meta["n"], "of": of, "url": response.url}
"""


@pytest.fixture
def flaky(tmp_cwd: Path) -> str:
    return str(spider_file(tmp_cwd / "flaky.py", FLAKY))


def command(flaky: str, site: PracticeSite, *arguments: str) -> list[str]:
    key = f"key={next(keys)}-{os.getpid()}"
    start = f"{site.url}/headers"
    return ["run", flaky, "--urls", start, "-a", key, "--retries", "0", *arguments]


def published() -> bytes:
    return Path("output/flaky.json").read_bytes()


def last(name: str) -> Any:
    file = max(Path("output/runs").glob("*/2*/stats.json")).with_name(name)
    text = file.read_text()
    return json.loads(text) if name.endswith(".json") else list(map(json.loads, text.splitlines()))


MODES = {
    "sequential": ["--mode", "sequential"],
    "threads": ["--mode", "threads", "-j", "4"],
    "processes": ["--mode", "processes", "-j", "2"],
}


@pytest.mark.parametrize("mode", MODES)
def test_afterwards_all_is_as_if_nothing_had_failed(
    mode: str, flaky: str, site: PracticeSite
) -> None:
    run = command(flaky, site)
    assert crawl(*run).returncode == 3
    assert len(last(FAILED)) == 7
    before = published()
    (old,) = Path("output/runs/flaky").glob("2*/")
    kept = {path.name: path.read_bytes() for path in old.iterdir()}
    done = crawl("retry", "flaky", *MODES[mode])
    assert done.returncode == 0, done.stderr
    assert f"fetching 7 failed pages of {old.name} again" in done.stderr
    after = published()
    assert after != before
    assert {path.name: path.read_bytes() for path in old.iterdir()} == kept
    stats, items, failed = last("stats.json"), last(ITEMS), last(FAILED)
    assert failed == []
    assert crawl(*run).returncode == 0, "by now the pages are well"
    assert published() == after
    assert last(ITEMS) == items
    for name in ("pages", "failed", "items", "failures", "skipped"):
        assert stats[name] == last("stats.json")[name]
    done = crawl("retry", "flaky")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("nothing to retry: no page of ")


def test_start_pages_fail_too_and_are_followed(tmp_cwd: Path, site: PracticeSite) -> None:
    spider_file(
        tmp_cwd / "walk.py",
        "@spider()\n"
        "def walk(response):\n"
        "    yield {'url': response.url}\n"
        "    if 'flaky' in response.url:\n"
        "        yield response.follow('/graph/3/30/')\n"
        "    yield from response.follow_all(css='a[href*=graph]')\n",
    )
    key = f"{site.url}/flaky/{next(keys)}-{os.getpid()}"
    Path("urls").write_text(f"{site.url}/empty\n{key}?fails=2\n{site.url}/headers\n")
    run = ["run", "walk.py", "--urls", "urls", "--retries", "0", "-o", "walk.json"]
    assert crawl(*run).returncode == 3
    assert len(json.loads(Path("walk.json").read_text())) == 2
    Path("urls").unlink()  # what is fetched again is in the journal
    assert crawl("retry", "walk").returncode == 3
    assert [record["rank"] for record in last(FAILED)] == [1]
    assert crawl("retry", "walk").returncode == 0
    after = json.loads(Path("walk.json").read_text())
    assert [item["url"] for item in after[:3]] == [
        f"{site.url}/empty",
        f"{key}?fails=2",
        f"{site.url}/headers",
    ]
    assert len(after) == 3 + 31
    Path("urls").write_text(f"{site.url}/empty\n{key}?fails=2\n{site.url}/headers\n")
    assert crawl(*run).returncode == 0
    assert json.loads(Path("walk.json").read_text()) == after


def test_killed_at_any_moment_nothing_is_lost(flaky: str, site: PracticeSite) -> None:
    run = command(flaky, site, "-a", "pages=60", "-a", "every=2")
    assert crawl(*run).returncode == 3
    before = published()
    (old,) = Path("output/runs/flaky").glob("2*/")
    kept = {path.name: path.read_bytes() for path in old.iterdir()}
    lots = random.Random(next(keys))
    kills = 0
    arguments = ["retry", "flaky"]
    while arguments:
        process = subprocess.Popen(
            [*CRAWL, *arguments, "--delay", "0.01", "-q"], stderr=subprocess.PIPE, process_group=0
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(lots.uniform(0.15, 0.6) if kills < 6 else 60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        assert {path.name: path.read_bytes() for path in old.iterdir()} == kept
        newest = json.loads(crawl("runs", "--json").stdout.splitlines()[0])
        if newest["state"] == "interrupted":
            assert published() == before or newest["failed"] == 0
            arguments = ["resume", "flaky"]
        elif newest["id"] != old.name:
            assert newest["state"] == "finished"
            arguments = []
    assert kills
    after = published()
    assert len(json.loads(after)) > len(json.loads(before))
    assert crawl(*run).returncode == 0
    assert published() == after


def test_a_retry_that_was_stopped_is_resumed_and_may_be_looked_at(
    flaky: str, site: PracticeSite
) -> None:
    run = command(flaky, site, "-a", "pages=40")
    assert crawl(*run).returncode == 3
    before = published()
    done = crawl("retry", "flaky", "--max-seconds", "0.05", "--delay", "0.02")
    assert done.returncode == 6, done.stderr
    assert "`crawl resume flaky` goes on from here" in done.stderr
    assert published() == before
    done = crawl("retry", "flaky")
    assert done.returncode == 2
    assert "came to no end; `crawl resume " in done.stderr
    assert crawl("runs", "flaky").stdout.splitlines()[1].split()[1:3] == ["flaky", "stopped"]
    done = crawl("resume", "--max-seconds", "1000")
    assert done.returncode == 0, done.stderr
    after = published()
    assert crawl(*run).returncode == 0
    assert published() == after


def test_python_resumes_it_with_all_items(flaky: str, site: PracticeSite) -> None:
    run = command(flaky, site)
    assert crawl(*run).returncode == 3
    assert crawl("retry", "flaky", "--max-seconds", "0.05", "--delay", "0.05").returncode == 6
    code = f"""
import crawler
if __name__ == "__main__":
    result = crawler.run(
        "flaky.py", urls={run[3]!r}, output="output/flaky.json", resume=True,
        arguments={{"key": {run[5].partition("=")[2]!r}}},
    )
    print(len(result.items), len(result.failures), result.stats.items, result.exit_code)
"""
    Path("again.py").write_text(code)
    done = subprocess.run([CRAWL[0], "again.py"], capture_output=True, text=True, check=False)
    items = len(json.loads(published()))
    assert done.stdout == f"{items} 0 {items} 0\n", done.stderr


def test_max_items_cuts_where_it_would_have(flaky: str, site: PracticeSite) -> None:
    for limit, code in ((5, 3), (25, 3)):
        run = command(flaky, site, "--max-items", str(limit))
        assert crawl(*run).returncode == code
        done = crawl("retry", "flaky")
        assert done.returncode == 0, done.stderr
        assert f", {limit} items in" in done.stderr
        after = published()
        assert crawl(*run).returncode == 0
        assert published() == after


def test_max_pages_holds(flaky: str, site: PracticeSite) -> None:
    run = command(flaky, site, "--max-pages", "9")
    assert crawl(*run).returncode == 3
    assert crawl("retry", "flaky").returncode == 0
    after = published()
    stats = last("stats.json")
    assert (stats["pages"], stats["failed"]) == (9, 0)
    assert crawl(*run).returncode == 0
    assert published() == after


def test_without_an_order_they_come_last(flaky: str, site: PracticeSite) -> None:
    run = command(flaky, site, "--order", "completion")
    assert crawl(*run).returncode == 3
    before = json.loads(published())
    assert crawl("retry", "flaky").returncode == 0
    after = json.loads(published())
    assert after[: len(before)] == before
    assert crawl(*run).returncode == 0
    assert sorted(map(str, json.loads(published()))) == sorted(map(str, after))
    run = command(flaky, site, "--order", "completion", "--max-items", "9")
    assert crawl(*run).returncode in (0, 3)
    if last(FAILED):
        done = crawl("retry", "flaky")
        assert done.returncode == 2
        assert "what failed isn't needed" in done.stderr


def test_to_stdout_all_items_go(flaky: str, site: PracticeSite) -> None:
    run = command(flaky, site, "-o", "-")
    assert crawl(*run).returncode == 3
    done = crawl("retry", "flaky")
    assert done.returncode == 0, done.stderr
    assert done.stdout == crawl(*run).stdout
    assert json.loads(done.stdout)


def test_what_failed_in_a_step_stays(tmp_cwd: Path, site: PracticeSite) -> None:
    spider_file(
        tmp_cwd / "flaky.py",
        "def odd(item):\n"
        "    if item['n'] == 1:\n"
        "        raise ValueError('odd')\n"
        "    return item\n\n"
        "@spider(steps=[odd])\n"
        "def flaky(response):\n"
        "    for n in range(3):\n"
        "        yield {'n': n, 'url': response.url}\n",
    )
    key = f"{site.url}/flaky/{next(keys)}-{os.getpid()}"
    run = ["run", "flaky.py", "--urls", f"{site.url}/empty", "--urls", f"{key}?fails=1"]
    assert crawl(*run, "--retries", "0").returncode == 3
    done = crawl("retry", "flaky")
    assert done.returncode == 3, "a step still fails items"
    assert "fetching 1 failed page of " in done.stderr
    assert "; 1 item that failed in a step stay so" in done.stderr
    assert [(record["kind"], record["rank"]) for record in last(FAILED)] == [
        ("pipeline", 0),
        ("pipeline", 1),
    ]
    assert [item["n"] for item in last(ITEMS)] == [0, 2, 0, 2]
    assert "nothing to retry" in crawl("retry", "flaky").stderr


def test_what_can_not_be_retried_is_refused(flaky: str, site: PracticeSite) -> None:
    done = crawl("retry", "flaky")
    assert done.returncode == 2
    assert "nothing to retry: there is no run flaky in output" in done.stderr
    run = command(flaky, site)
    assert crawl(*run).returncode == 3
    (folder,) = Path("output/runs/flaky").glob("2*/")
    whole = (folder / ITEMS).read_bytes()
    (folder / ITEMS).write_bytes(whole + b'{"n": 1}\n')
    done = crawl("retry", "flaky")
    assert done.returncode == 2
    assert "somebody changed it" in done.stderr
    (folder / ITEMS).unlink()
    assert "is missing" in crawl("retry", "flaky").stderr
    (folder / ITEMS).write_bytes(whole)
    journal = (folder / JOURNAL).read_bytes()
    (folder / JOURNAL).write_bytes(journal[: len(journal) // 2])
    assert "can't be read" in crawl("retry", str(folder)).stderr
    (folder / JOURNAL).write_bytes(journal)
    assert [path.name for path in Path("output/runs/flaky").glob("2*/")] == [folder.name]
    assert crawl("retry", folder.name).returncode == 0


def test_a_run_that_a_program_began_can_be_neither_retried_nor_resumed(
    tmp_cwd: Path, site: PracticeSite
) -> None:
    """A function and its arguments can't be found again by their names."""

    def gone(response: Response) -> None:
        pass

    urls = [f"{site.url}/status/404?{number}" for number in range(20)]
    crawler.run(gone, urls=urls, output="output/x.json")
    done = crawl("retry", "gone")
    assert done.returncode == 2
    assert "what `crawl run` began can be retried" in done.stderr
    crawler.run(gone, urls=urls, output="output/x.json", max_failures=1, workers=1)
    done = crawl("resume", "gone")
    assert done.returncode == 2
    assert "crawler.run(..., resume=True) resumes the last run" in done.stderr


def test_an_end_that_nobody_saw_is_refused(tmp_cwd: Path, site: PracticeSite) -> None:
    spider_file(
        tmp_cwd / "pages.py",
        f"@spider(url='{site.url}/status/{{page}}')\n"
        "def pages(response):\n"
        "    return {'url': response.url}\n",
    )
    run = ["run", "pages.py", "--pages", "until-empty", "--retries", "0"]
    code = crawl(*run).returncode
    assert code == 3
    done = crawl("retry", "pages")
    assert done.returncode == 2
    assert "nobody knows what is behind it" in done.stderr


def test_at_work_it_is_not_retried(flaky: str, site: PracticeSite) -> None:
    run = command(flaky, site, "--delay", "0.1")
    with subprocess.Popen([*CRAWL, *run], stderr=subprocess.PIPE, process_group=0) as process:
        try:
            while not list(Path("output").glob("runs/*/2*/run.json")):
                time.sleep(0.02)
            time.sleep(0.3)
            done = crawl("retry", "flaky")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert done.returncode == 5
    assert "is at work" in done.stderr


def test_a_journal_of_an_old_retry_can_be_put_back_again(tmp_path: Path) -> None:
    """The table of what was put back is made anew."""
    old, new, newer = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for folder in (old, new, newer):
        folder.mkdir()
    journal = Journal.create(old / JOURNAL)
    sink = Lists()
    session(Site([[]] * 3, {0, 2}), journal, sink, [0, 1, 2], 0)
    journal.close()
    (old / ITEMS).write_text('{"n": 1}\n')
    (old / FAILED).write_text("")
    put_back(old, new, in_order=True, until_empty=False)
    journal = Journal.open(new / JOURNAL)
    assert [link.rank for link in journal.put_back()] == [0, 2]
    session(Site([[]] * 3, {0}), journal, Written(), [], 0)
    assert list(journal.placed()) == [(0, True), (1, False), (2, True)]
    journal.close()
    (new / ITEMS).write_text("{}\n" * 3)
    put_back(new, newer, in_order=True, until_empty=False)
    journal = Journal.open(newer / JOURNAL)
    assert [link.rank for link in journal.put_back()] == [0]
    assert list(journal.placed()) == [(0, True), (1, False), (2, False)]
    journal.close()
    (tmp_path / "d").mkdir()
    with pytest.raises(UsageError, match="nobody knows what is behind it"):
        put_back(old, tmp_path / "d", in_order=True, until_empty=True)
