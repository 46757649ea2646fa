"""Real documentation of thousands of pages, on loopback: the pages that wget finds, always alike.

The sites are Debian packages: `apt-get install postgresql-doc python3-doc wget`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import psutil
import pytest

from command_line import CRAWL, spider_file
from conftest import told
from static_site import served

DOCUMENTATION = Path("/usr/share/doc")
SITES = {
    "postgresql-doc": "postgresql-doc-*/html/index.html",
    "python3-doc": "python3/html/index.html",
}
# Python's pages have 310 links each: a crawl of it takes three times as long.
MODES = {
    "postgresql-doc": ["sequential", "processes", "threads"],
    "python3-doc": ["processes"],
}

PAGES = """
import hashlib

@spider()
def pages(response):
    if "html" in response.headers.get("Content-Type", ""):
        digest = hashlib.sha256(response.body).hexdigest()
        yield {"url": response.url, "sha256": digest, "title": response.css("title::text").get()}
        yield from response.follow_all(css="a, area")
"""


@dataclass(frozen=True)
class Site:
    """A site, and what a crawl of it in threads found."""

    name: str
    url: str
    output: bytes
    broken: set[str]
    seconds: float
    """Of CPU."""


def command(url: str, *arguments: str) -> list[str]:
    return [*CRAWL, "run", "pages.py", "--urls", f"{url}/index.html", "-q", *arguments]


def crawl(folder: Path, arguments: list[str]) -> bytes:
    """The output of a crawl that came to its end; some of the links may be broken."""
    done = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr
    return (folder / "output/pages.json").read_bytes()


@pytest.fixture(scope="module", params=SITES)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    found = sorted(DOCUMENTATION.glob(SITES[request.param]))
    if not found:
        pytest.skip(f"the Debian package {request.param} is not installed")
    folder = tmp_path_factory.mktemp("threads")
    spider_file(folder / "pages.py", PAGES)
    with served(found[-1].parent) as url:
        before = psutil.Process().cpu_times()
        output = crawl(folder, command(url))
        after = psutil.Process().cpu_times()
        seconds = sum(getattr(after, f"children_{kind}") for kind in ("user", "system")) - sum(
            getattr(before, f"children_{kind}") for kind in ("user", "system")
        )
        yield Site(request.param, url, output, broken_links(folder), seconds)


def broken_links(folder: Path) -> set[str]:
    (file,) = folder.glob("output/runs/pages/2*/failed.jsonl")
    records = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert {record["status"] for record in records} <= {404}
    return {urldefrag(record["url"]).url for record in records}


@pytest.mark.skipif(shutil.which("wget") is None, reason="wget is not installed")
def test_the_pages_are_those_that_wget_finds(site: Site, tmp_path: Path) -> None:
    """wget follows more kinds of links (pictures, styles): only HTML pages are compared."""
    options = ["-r", "-l", "inf", "--no-parent", "-nH", "-nv", "-e", "robots=off", "--no-proxy"]
    done = subprocess.run(
        ["wget", *options, "-P", tmp_path, f"{site.url}/index.html"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    broken = set(re.findall(r"^(http\S+):\n.* ERROR 404", done.stderr, re.MULTILINE))
    assert done.returncode == (8 if broken else 0), done.stderr[-2000:]
    theirs = {
        f"{site.url}/{file.relative_to(tmp_path)}": hashlib.sha256(file.read_bytes()).hexdigest()
        for file in tmp_path.rglob("*.html")
    }
    items: list[dict[str, Any]] = json.loads(site.output)
    ours = {urldefrag(item["url"]).url: item["sha256"] for item in items}
    assert ours == theirs
    assert len(items) == len(ours) > 500
    assert site.broken == {url for url in broken if url.endswith(".html")}
    told.append(
        f"{site.name}: {len(ours)} pages and {len(broken)} broken links, as wget found; "
        f"{site.seconds:.1f} s CPU in threads"
    )


def test_every_mode_writes_the_same_bytes_each_time(site: Site, tmp_path: Path) -> None:
    spider_file(tmp_path / "pages.py", PAGES)
    for mode in MODES[site.name]:
        assert crawl(tmp_path, command(site.url, "--mode", mode)) == site.output, mode


def done_pages(folder: Path) -> int:
    """How many pages are in the journal of the only run."""
    count = 0
    for journal in folder.glob("output/runs/pages/2*/journal.sqlite"):
        with suppress(sqlite3.Error):
            connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=0)
            query = "SELECT count(*) FROM requests WHERE rank IS NOT NULL"
            count = connection.execute(query).fetchone()[0]
            connection.close()
    return count


def test_killed_on_its_way_and_resumed_it_writes_the_same_bytes(site: Site, tmp_path: Path) -> None:
    if site.name == "python3-doc":
        pytest.skip("the other site shows it in a third of the time")
    spider_file(tmp_path / "pages.py", PAGES)
    pages = site.output.count(b"\n") - 2
    process = subprocess.Popen(
        command(site.url, "--mode", "processes", "--delay", "0.01"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    while process.poll() is None and done_pages(tmp_path) < pages // 10:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    assert not (tmp_path / "output/pages.json").exists()
    done = done_pages(tmp_path)
    assert pages // 10 <= done < pages
    assert crawl(tmp_path, [*CRAWL, "resume", "-q", "--delay", "0"]) == site.output
    (stats,) = tmp_path.glob("output/runs/pages/2*/stats.json")
    asked_twice = json.loads(stats.read_bytes())["requests"] - pages - len(site.broken)
    told.append(f"{site.name}: killed after {done} of {pages} pages, {asked_twice} more requests")
