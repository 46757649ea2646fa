"""The worked example of docs/steps.md writes to a real PostgreSQL, which goes away in between."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from command_line import CRAWL, crawl, signal_all, spider_file, start_crawl
from conftest import REPOSITORY
from crawler import demo

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")

NUMBERS = """
import time
from pathlib import Path

@spider()
def posts(response):
    number = int(response.url.rpartition("=")[2])
    while number == 20 and Path("wait").exists():
        time.sleep(0.01)
    for n in (number, number + 1000):
        yield {"id": n, "text": "汉" if n != REFUSED else chr(0)}
"""
STEP = ("--step", "postgres.py:Upsert('posts', key='id')")


@dataclass
class Server:
    """A PostgreSQL of our own: a data folder, and a socket in it."""

    folder: Path
    programs: Path
    user: str | None
    process: subprocess.Popen[bytes] | None = None

    def run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        # Its messages in English; it refuses to be run by root.
        return subprocess.Popen(
            [self.programs / program, *arguments],
            cwd=self.folder,
            user=self.user,
            env={**os.environ, "LC_ALL": "C"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start(self) -> None:
        data = str(self.folder / "data")
        options = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={self.folder}")
        self.process = self.run("postgres", "-D", data, *options, "-F")
        for _ in range(200):
            try:
                self.query("SELECT 1")
            except psycopg.OperationalError:
                assert self.process.poll() is None
                time.sleep(0.05)  # until it answers
            else:
                return
        raise AssertionError("PostgreSQL doesn't answer")

    def stop(self) -> None:
        """At once, as a crash does it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None

    def query(self, query: str) -> list[tuple[Any, ...]]:
        where = f"host={self.folder} dbname=postgres user=tester"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(query)
            return list(cursor.fetchall()) if cursor.description else []

    def posts(self) -> list[tuple[str, Any]]:
        return self.query("SELECT key, item FROM posts ORDER BY key::int")


def programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    anywhere = shutil.which("postgres")
    if anywhere is not None:
        found.append(Path(anywhere).resolve().parent)
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    return found[-1]


def other_user() -> str | None:
    """Whom root lets do what it may not do itself."""
    if os.getuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.skip("PostgreSQL refuses to be run by root, and there is nobody else")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="crawl-pg-"))  # short, for the socket; not only for us
    server = Server(folder, programs(), other_user())
    folder.chmod(0o755)
    if server.user is not None:
        shutil.chown(folder, server.user)
    try:
        arguments = ("-D", str(folder / "data"), "-U", "tester", "-A", "trust", "-N")
        made = server.run("initdb", *arguments, "-E", "UTF8", "--no-locale")
        assert made.wait() == 0
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def here(server: Server, tmp_cwd: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example; the table is not there."""
    if server.process is None:
        server.start()
    server.query("DROP TABLE IF EXISTS posts")
    document = (REPOSITORY / "docs" / "steps.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    (example,) = [block for block in blocks if block.startswith('"""postgres.py')]
    Path("postgres.py").write_text(example, encoding="utf-8")
    spider_file(tmp_cwd / "posts.py", NUMBERS.replace("REFUSED", "0"))
    monkeypatch.setenv("PGHOST", str(server.folder))
    monkeypatch.setenv("PGDATABASE", "postgres")
    monkeypatch.setenv("PGUSER", "tester")
    return tmp_cwd


def rows() -> list[tuple[str, Any]]:
    return [(str(n), {"id": n, "text": "汉"}) for n in (*range(1, 41), *range(1001, 1041))]


def arguments(site: demo.PracticeSite, *more: str) -> list[str]:
    urls = f"{site.url}/headers?n={{1..40}}"
    return ["run", "posts.py", "--urls", urls, *STEP, "-j", "2", "--resume", *more]


def test_items_are_rows(here: Path, server: Server, site: demo.PracticeSite) -> None:
    for _ in range(2):  # the second time by the same keys
        done = crawl(*arguments(site))
        assert done.returncode == 0, done.stderr
        assert server.posts() == rows()


def test_an_item_that_it_refuses_fails_alone(
    here: Path, server: Server, site: demo.PracticeSite
) -> None:
    """JSON of PostgreSQL can't hold NUL."""
    spider_file(here / "posts.py", NUMBERS.replace("REFUSED", "7"))
    done = crawl(*arguments(site))
    assert done.returncode == 3, done.stderr
    assert server.posts() == [row for row in rows() if row[0] != "7"]
    (failed,) = here.glob("output/runs/posts/2*/failed.jsonl")
    assert failed.read_text().count("UntranslatableCharacter") >= 1
    assert failed.read_text().count("\n") == 1


def crawl_until_there_are_rows(server: Server, site: demo.PracticeSite) -> subprocess.Popen[str]:
    """A crawl in its midst: it waits at a page."""
    Path("wait").touch()
    process = start_crawl(*arguments(site))
    while not (server.query("SELECT to_regclass('posts')") != [(None,)] and server.posts()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    return process


def test_killed_and_resumed_no_row_is_missing(
    here: Path, server: Server, site: demo.PracticeSite
) -> None:
    process = crawl_until_there_are_rows(server, site)
    signal_all(process, signal.SIGKILL)
    process.communicate()
    assert 0 < len(server.posts()) < 40
    Path("wait").unlink()
    done = crawl(*arguments(site))
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stderr
    assert server.posts() == rows()


def test_a_server_that_goes_away_ends_the_crawl_so_that_it_can_be_resumed(
    here: Path, server: Server, site: demo.PracticeSite
) -> None:
    process = crawl_until_there_are_rows(server, site)
    server.stop()
    Path("wait").unlink()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 8, said
    assert "PostgreSQL is away" in said or "can't make safe what it was given" in said
    assert "`crawl resume posts` goes on from here" in said
    assert "Traceback" not in said
    refused = crawl("resume")
    assert refused.returncode == 2, refused.stderr
    assert "the step postgres.py:Upsert('posts', key='id') can't begin: " in refused.stderr
    server.start()
    done = crawl("resume")
    assert done.returncode == 0, done.stderr
    assert server.posts() == rows()


def test_without_a_server_nothing_is_begun(
    here: Path, site: demo.PracticeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", str(here))
    done = subprocess.run([*CRAWL, *arguments(site)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "can't begin: OperationalError: " in done.stderr
    assert "nothing was fetched" in done.stderr
    assert not list(here.glob("output/runs/*/2*"))
