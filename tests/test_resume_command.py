"""`crawl resume` by hand: from elsewhere, after things were moved, damaged or removed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import crawler
from command_line import CRAWL, spider_file
from crawler.demo import PracticeSite

SPIDER = """
@spider()
def pages(response):
    yield {"path": response.url.partition("/graph/")[2]}
    yield from response.follow_all(css="a", callback=other)

def other(response):
    return pages(response)
"""


def crawl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*CRAWL, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr
    return done


def begin(folder: Path, site: PracticeSite, *options: str) -> str:
    """A run that was stopped on its way; what it said."""
    spider_file(folder / "pages.py", SPIDER)
    url = f"{site.url}/graph/3/40/page/1?links=4"
    options = ("--max-bytes", "3000", "--concurrency", "2", *options)
    done = crawl(folder, "run", "pages.py", "--urls", url, *options)
    assert done.returncode == 6, done.stderr
    return done.stderr


@pytest.fixture
def project(site: PracticeSite, tmp_path: Path) -> Path:
    """The folder of a project in which a run was stopped on its way."""
    begin(tmp_path / "project", site)
    return tmp_path / "project"


@pytest.fixture(scope="module")
def begun(site: PracticeSite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for all tests; nobody changes anything there."""
    folder = tmp_path_factory.mktemp("begun")
    begin(folder, site)
    return folder


@pytest.fixture
def copied(begun: Path, tmp_path: Path) -> Path:
    """A copy of it, where it is of no account where the run began."""
    return Path(shutil.copytree(begun, tmp_path / "project"))


def run_folder(project: Path) -> Path:
    (folder,) = project.glob("output/runs/pages/2*/")
    return folder


def resume(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return crawl(project, "resume", "--max-bytes", "1000000", *arguments)


def paths(file: Path) -> list[Any]:
    return [item["path"] for item in json.loads(file.read_bytes())]


@pytest.fixture(scope="module")
def expected(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What the crawl finds when it is simply resumed, in a copy."""
    copy = shutil.copytree(begun, tmp_path_factory.mktemp("resumed") / "copy")
    assert resume(copy).returncode == 0
    return paths(copy / "output/pages.json")


# ---- Where it is told to go on ----


def test_the_name_is_told_where_it_is_enough(site: PracticeSite, tmp_path: Path) -> None:
    assert "`crawl resume pages` goes on from here" in begin(tmp_path, site)


def test_the_folder_is_told_where_the_name_is_not_enough(
    site: PracticeSite, tmp_path: Path
) -> None:
    said = begin(tmp_path, site, "--output-dir", "other place")
    (folder,) = tmp_path.glob("other place/runs/pages/2*/")
    assert f"`crawl resume '{folder}'` goes on from here" in said
    said = crawl(tmp_path, "run", "pages.py", "--output-dir", "other place").stderr
    assert "names no start" in said
    done = crawl(tmp_path, "resume", str(folder))
    assert done.returncode == 6
    assert f"`crawl resume '{folder}'` goes on from here" in done.stderr


def test_from_another_directory_the_output_goes_where_it_belongs(
    project: Path, tmp_path: Path, expected: list[Any]
) -> None:
    done = resume(tmp_path, str(run_folder(project)))
    assert done.returncode == 0, done.stderr
    assert paths(project / "output/pages.json") == expected
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_project_that_was_moved_or_copied_goes_on_in_its_new_place(
    project: Path, tmp_path: Path, expected: list[Any], is_gone: bool
) -> None:
    new = tmp_path / "new"
    if is_gone:
        project.rename(new)
    else:
        shutil.copytree(project, new)
    done = resume(new)
    assert done.returncode == 0, done.stderr
    assert f"changed since then: spider: {project}/pages.py:pages -> {new}/pages.py" in done.stderr
    assert "the spider's file has changed" not in done.stderr
    assert paths(new / "output/pages.json") == expected
    assert not (project / "output/pages.json").exists()


def test_what_is_as_it_was_is_not_said_to_have_changed(site: PracticeSite, tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="the extra `images` is not installed")
    file = tmp_path / "crawl.toml"
    toml = '[thumbnails]\nsmall = "75x75"\n[hosts."*.a.test"]\ndelay = 1'
    file.write_text(toml)
    begin(tmp_path, site)
    assert "changed since then" not in resume(tmp_path, "--max-bytes", "3000").stderr
    file.write_text(toml.replace("75x75", "76x75"))
    (change,) = [line for line in resume(tmp_path).stderr.splitlines() if "thumbnails" in line]
    assert change.startswith("changed since then: thumbnails: {'small': {'size': [75, 75], ")


def run_again(folder: Path, site: PracticeSite, *options: str) -> list[str]:
    """Outputs of a run that `crawl run --resume` goes on with."""
    url = f"{site.url}/graph/3/40/page/1?links=4"
    done = crawl(folder, "run", "pages.py", "--urls", url, "--resume", *options)
    assert done.returncode == 0, done.stderr
    assert "resuming output/runs/pages/" in done.stderr
    return [line[3:] for line in done.stderr.splitlines() if line.startswith("-> ")]


def test_run_with_resume_writes_to_the_runs_own_outputs(site: PracticeSite, tmp_path: Path) -> None:
    begin(tmp_path, site, "-o", "a.json", "-o", "{date}.jsonl")
    one, other = run_again(tmp_path, site)
    assert (one, Path(other).suffix) == ("a.json", ".jsonl")
    assert not (tmp_path / "output/pages.json").exists()


def test_run_with_resume_and_outputs_writes_to_those(site: PracticeSite, tmp_path: Path) -> None:
    begin(tmp_path, site, "-o", "a.json")
    assert run_again(tmp_path, site, "-o", "b.csv") == ["b.csv"]


def test_run_with_resume_writes_to_the_outputs_of_a_run_that_a_program_began(
    site: PracticeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spider_file(tmp_path / "pages.py", SPIDER)
    url = f"{site.url}/graph/3/40/page/1?links=4"
    stopped = crawler.run("pages.py", urls=[url], output="mine.json", max_bytes=3000)
    assert stopped.exit_code == 6
    assert run_again(tmp_path, site) == ["mine.json"]


def test_where_the_run_began_may_be_gone(site: PracticeSite, tmp_path: Path) -> None:
    begin(tmp_path / "project", site, "--output-dir", str(tmp_path / "elsewhere"))
    (tmp_path / "project").rename(tmp_path / "new")
    done = crawl(tmp_path, "resume", "--output-dir", "elsewhere")
    assert done.returncode == 2
    assert f"can't go to {tmp_path / 'project'}, where the run began: No such" in done.stderr


# ---- What is gone or damaged ----


@pytest.mark.parametrize("by", ["", "pages", "id", "folder"])
def test_a_journal_that_is_gone_is_named(copied: Path, by: str) -> None:
    folder = run_folder(copied)
    (folder / "journal.sqlite").unlink()
    which = {"id": folder.name, "folder": str(folder)}.get(by, by)
    done = resume(copied, *filter(None, [which]))
    assert done.returncode == 2
    assert f"{folder.relative_to(copied)}/journal.sqlite is gone" in done.stderr


@pytest.mark.parametrize("by", ["", "pages", "id", "folder"])
def test_a_description_that_is_damaged_is_named(copied: Path, by: str) -> None:
    folder = run_folder(copied)
    description = folder / "run.json"
    description.write_bytes(description.read_bytes()[:100])
    which = {"id": folder.name, "folder": str(folder)}.get(by, by)
    done = resume(copied, *filter(None, [which]))
    assert done.returncode == 2
    assert f"{folder.relative_to(copied)}/run.json is damaged" in done.stderr


@pytest.mark.parametrize("asked", [[1], {"spider": "pages.py"}, {"settings": {}, "cwd": "/"}])
def test_a_description_that_is_wrong_is_named(copied: Path, asked: object) -> None:
    description = run_folder(copied) / "run.json"
    facts = {**json.loads(description.read_bytes()), "asked": asked}
    description.write_text(json.dumps(facts))
    done = resume(copied)
    assert done.returncode == 2
    assert "run.json doesn't say what was asked for" in done.stderr


def test_what_is_no_run_is_named(copied: Path) -> None:
    assert "there is no run of posts in output" in resume(copied, "posts").stderr
    assert "output/runs/posts is no folder of a run" in resume(copied, "output/runs/posts").stderr


def test_a_lock_that_can_not_be_taken_is_an_error(copied: Path) -> None:
    folder = run_folder(copied)
    lock = folder.with_name(".lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    done = resume(copied)
    assert done.returncode == 2
    assert f"can't write {folder}: Is a directory" in done.stderr


def test_cookies_that_can_not_be_read_are_named(copied: Path) -> None:
    with closing(sqlite3.connect(run_folder(copied) / "journal.sqlite")) as journal, journal:
        row = ("cookies", json.dumps([{"name": "a"}]))
        journal.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", row)
    done = resume(copied)
    assert done.returncode == 2
    assert "the run's cookies can't be read: cookie 0 is not as this version" in done.stderr
