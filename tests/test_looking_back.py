"""`crawl runs` and `crawl why`: what they say of runs that ended, were killed, or are at work."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from command_line import crawl, spider_file, start_crawl
from crawler.demo import PracticeSite

WALK = """
@spider()
def walk(response):
    yield {"url": response.url}
    yield {"title": response.css("title::text").get(), "escape": "\\x1b[31m"}
    yield from response.follow_all(css="a")
"""


@pytest.fixture
def walk(tmp_cwd: Path) -> str:
    return str(spider_file(tmp_cwd / "walk.py", WALK))


def runs(*arguments: str) -> list[dict[str, Any]]:
    done = crawl("runs", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(*arguments: str, code: int = 0) -> str:
    """What `crawl why` says, spaces made one."""
    before = contents(Path("output"))
    done = crawl("why", *arguments)
    assert done.returncode == code, done.stderr
    assert contents(Path("output")) == before
    return "\n".join(" ".join(line.split()) for line in done.stdout.splitlines())


# ---- runs ----


def test_runs_are_listed_the_newest_first(walk: str, site: PracticeSite) -> None:
    url = f"{site.url}/graph/5/20/page/0?dead=0.3"
    assert crawl("run", walk, "--urls", url).returncode == 3
    assert crawl("run", walk, "--urls", url, "--max-failures", "1").returncode == 6
    assert crawl("run", walk, "--urls", f"{site.url}/empty", "--name", "other").returncode == 0
    other, stopped, finished = runs()
    assert (other["name"], stopped["name"], finished["name"]) == ("other", "walk", "walk")
    assert [run["state"] for run in (other, stopped, finished)] == [
        "finished",
        "stopped",
        "finished",
    ]
    assert [run["resumable"] for run in (other, stopped, finished)] == [False, True, False]
    assert (other["pages"], other["items"], other["failed"]) == (1, 2, 0)
    assert finished["items"] == 2 * (finished["pages"] - finished["failed"])
    assert finished["failed"] >= stopped["failed"] >= 1
    assert runs("walk") == [stopped, finished]
    table = crawl("runs").stdout.splitlines()
    assert table[0].split() == [
        "id",
        "name",
        "state",
        "pages",
        "items",
        "failed",
        "began",
        "seconds",
        "resumable",
    ]
    assert table[1].split()[:6] == [other["id"], "other", "finished", "1", "2", "0"]
    assert {len(re.match(r".*\+00:00", line)[0]) for line in table[1:]} == {  # type: ignore[index]
        len(table[1].partition("+00:00")[0]) + 6
    }


def test_no_runs_is_said_and_no_error(tmp_cwd: Path) -> None:
    done = crawl("runs", "walk")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "no runs of walk in output\n"


def test_a_run_at_work_and_one_that_was_killed(walk: str, site: PracticeSite) -> None:
    start = f"{site.url}/endless-pages"
    with start_crawl("run", walk, "--urls", start, "--delay", "0.05") as process:
        try:
            at_work()
            (run,) = runs()
            assert (run["state"], run["resumable"]) == ("running", False)
            assert run["items"] >= 0
            done = crawl("why", start, "--run", run["id"])
            assert "fetched on" in done.stdout
            assert f"{run['id']} (walk, running)" in done.stdout
            assert process.poll() is None
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    (folder,) = Path("output/runs/walk").glob("2*/")
    before = contents(folder)
    (run,) = runs()
    assert (run["state"], run["resumable"]) == ("interrupted", True)
    assert run["pages"] >= 1
    assert "(walk, interrupted)" in told(start)
    assert contents(folder) == before


def at_work() -> None:
    """Wait until something is committed."""
    for _ in range(500):
        for journal in Path("output").glob("runs/*/2*/journal.sqlite"):
            with suppress(sqlite3.Error):
                connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
                count = connection.execute("SELECT count(*) FROM requests").fetchone()[0]
                connection.close()
                if count:
                    return
        time.sleep(0.02)
    raise AssertionError


def test_damaged_runs_are_shown_as_such(walk: str, site: PracticeSite) -> None:
    for name in ("a", "b", "c", "d", "e", "f"):
        arguments = ["--name", name, "--urls", f"{site.url}/empty"]
        assert crawl("run", walk, *arguments).returncode == 0
    folders = {name: next(Path("output/runs", name).glob("2*/")) for name in "abcdef"}
    (folders["a"] / "run.json").write_text("{")
    (folders["b"] / "stats.json").write_text('{"pages": "many"}')
    change(folders["c"], state="stopped")
    (folders["c"] / "stats.json").write_text("[")
    (folders["c"] / "journal.sqlite").write_bytes(b"SQLite format 3\0" + b"\0" * 99)
    change(folders["d"], state="\x1b[31m", started=7, pid="x", progress=3)
    change(folders["e"], state="running", progress="../../etc", pid=10**40)
    (folders["f"] / "run.json").unlink()
    found = {run["name"]: run["state"] for run in runs()}
    assert found == {
        "a": "damaged",
        "b": "finished",
        "c": "damaged",
        "d": "damaged",
        "e": "interrupted",
    }
    assert "\x1b" not in crawl("runs").stdout


def change(folder: Path, **facts: object) -> None:
    file = folder / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


# ---- why ----


@pytest.fixture(scope="module")
def crawled_once(site: PracticeSite, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the start of a crawl that had everything in it."""
    folder = tmp_path_factory.mktemp("crawled")
    spider_file(folder / "walk.py", WALK)
    url = f"{site.url}/graph/7/40/page/0?links=4&redirects=0.3&dead=0.2"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert crawl("run", "walk.py", "--urls", url).returncode == 3
    return folder, url


@pytest.fixture
def crawled(crawled_once: tuple[Path, str], tmp_cwd: Path) -> str:
    """Its start; the test is in a copy of its folder."""
    folder, url = crawled_once
    shutil.copytree(folder, tmp_cwd, dirs_exist_ok=True)
    return url


def rows(query: str) -> list[Any]:
    (journal,) = Path("output").glob("runs/*/2*/journal.sqlite")
    connection = sqlite3.connect(f"file:{journal}?immutable=1", uri=True)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def test_a_page_that_was_fetched(crawled: str) -> None:
    lines = told(crawled, "-v").splitlines()
    assert lines[0] == f"url {crawled}"
    assert re.fullmatch(r"run \S+ \(walk, finished\)", lines[1])
    assert re.fullmatch(r"became fetched on [\d-]{10} [\d:]{8} UTC", lines[2])
    assert re.fullmatch(r"status 200, 1 attempt, \d+\.\d\d s, by worker \d+", lines[3])
    assert lines[4:7] == ["rank 0", "parent none: it is a start page", "items 2"]
    assert json.loads(lines[7]) == {"url": crawled}
    assert "\\u001b[31m" in lines[8]
    odd = crawled.replace("http:", "HTTP:").replace("/page/0?links=4&", "/x/../page/0?links=4&")
    assert told(odd + "#part", "-v") == "\n".join(lines)


def test_items_are_those_of_the_page(crawled: str) -> None:
    for rank, url, final_url in rows(
        "SELECT rank, url, final_url FROM requests WHERE outcome = 'ok' AND rank > 9 LIMIT 3"
    ):
        lines = told(url, "-v").splitlines()
        assert f"rank {rank}" in lines
        assert json.dumps({"url": final_url or url}) in lines


def test_a_page_that_was_redirected(crawled: str) -> None:
    ((rank, url, final_url),) = rows(
        "SELECT rank, url, final_url FROM requests WHERE outcome = 'ok' AND final_url > '' LIMIT 1"
    )
    for each in (url, final_url):
        assert f"url {url}" in told(each)
        assert f"moved to {final_url}" in told(each)
        assert f"rank {rank}" in told(each)


def test_a_page_that_failed_and_its_way_from_the_start(crawled: str) -> None:
    ((rank, url, depth),) = rows(
        "SELECT rank, url, depth FROM requests WHERE outcome = 'status' ORDER BY depth DESC LIMIT 1"
    )
    lines = told(url).splitlines()
    assert re.fullmatch(r"became failed on .* UTC: status \(the server answered 404\)", lines[2])
    assert f"rank {rank}" in lines
    parents = lines[lines.index(f"rank {rank}") + 1 :]
    assert parents[0].startswith("parent rank ")
    assert parents[-1].endswith(f"rank 0 {crawled}")
    assert len(parents) == min(depth, 5)


def test_pages_that_were_left_out(walk: str, site: PracticeSite) -> None:
    spider_file(
        Path(walk),
        "@spider()\n"
        "def walk(response):\n"
        "    for link in ('http://elsewhere.test/', '/redirect/1', '/redirect/0', '/status/404'):\n"
        "        yield response.follow(link)\n",
    )
    urls = ["--urls", f"{site.url}/empty"]
    assert crawl("run", walk, *urls, "--max-pages", "2", "--deny", "nowhere").returncode == 0
    assert "left out: its host is neither" in told("http://elsewhere.test/")
    assert "left out: it had been asked for before (duplicate)" in told(f"{site.url}/redirect/1")
    never = told(f"{site.url}/status/404")
    assert "became found, but not asked for: it lay behind the end of the crawl" in never
    assert f"parent rank 0 {site.url}/empty" in never


def test_a_url_that_no_run_knows(crawled: str, site: PracticeSite) -> None:
    said = told(f"{site.url}/nowhere", code=4)
    assert re.search(r"became never seen by \S+ \(walk\)\n", said)
    assert "because no rule on URLs leaves it out: no page that was fetched linked to it" in said
    assert re.search(r"pages failed: \d+; nobody knows", said)
    assert "because a link to it would be left out: its host" in told("http://x.test/", code=4)
    spider = ["run", "walk.py", "--urls", f"{site.url}/empty"]
    rules = ["--deny", "secret", "--allow", "graph", "--allow", "[", "--max-depth", "3"]
    assert crawl(*spider, *rules).returncode == 2
    rules.remove("[")
    del rules[rules.index("--allow", 3)]
    assert crawl(*spider, *rules).returncode == 0
    assert "(deny)" in told(f"{site.url}/graph/secret", code=4)
    assert "(allow)" in told(f"{site.url}/other", code=4)
    said = told(f"{site.url}/graph/77", code=4)
    assert ", and none of 1 before it" in said
    assert "or it was only linked to from pages 3 links deep" in said


def test_the_latest_run_that_knows_it_is_asked(crawled: str, site: PracticeSite) -> None:
    arguments = ["--urls", f"{site.url}/empty", "--name", "later"]
    assert crawl("run", "walk.py", *arguments).returncode == 0
    assert "(walk, finished)" in told(crawled)
    assert "(later, finished)" in told(f"{site.url}/empty")
    assert "never seen" in told(crawled, "--run", "later", code=4)
    (folder,) = Path("output/runs/later").glob("2*/")
    assert "(later, finished)" in told(f"{site.url}/empty", "--run", str(folder))
    (folder / "journal.sqlite").write_bytes(b"nothing")
    done = crawl("why", crawled)
    assert "(walk, finished)" in done.stdout
    assert "not looked at: " in done.stderr


def test_what_skipped_jsonl_says_is_told(crawled: str, site: PracticeSite) -> None:
    (folder,) = Path("output/runs/walk").glob("2*/")
    record = {"url": f"{site.url}/left?b&a", "reason": "deny", "parent": 3}
    (folder / "skipped.jsonl").write_text(f"{json.dumps(record)}\nhalf a li")
    assert "became left out: it matches a pattern of deny (deny)\nparent rank 3" in told(
        f"{site.url}/left?a&b"
    )


@pytest.mark.parametrize("url", ["mailto:me@x.test", "x.test", "http://", "http://[", "http://x y"])
def test_what_is_no_url_is_a_usage_error(tmp_cwd: Path, url: str) -> None:
    done = crawl("why", url)
    assert done.returncode == 2
    assert done.stderr.startswith(f"crawl: {url} is nothing that is crawled: ")
    assert crawl("why", "http://x.test/").returncode == 2
    assert "there is no run nosuch in output" in crawl("why", "http://x/", "--run", "nosuch").stderr
