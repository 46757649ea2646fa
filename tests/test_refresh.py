"""`--publish-every`: outputs that are whole and valid while the crawl is at work."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from command_line import crawl, signal_all, spider_file, start_crawl
from crawler import demo
from crawler.errors import SettingError
from crawler.exporters import FORMATS
from crawler.output import Target, parse_target
from crawler.refresh import Refresher, _as_json, _from_json
from crawler.settings import resolve
from test_exporters import is_installed, read_csv, read_md, read_parquet, read_sqlite, read_xml

SPIDER = """
import time
from pathlib import Path

@spider()
def posts(response):
    number = int(response.url.rpartition("=")[2])
    while number == 60 and not Path("go").exists():
        time.sleep(0.01)
    return {"n": number}
"""
"""The 60th page waits until the test has seen what it wants to see."""

READERS: dict[str, Callable[[bytes], list[int]]] = {
    "json": lambda document: [item["n"] for item in json.loads(document)],
    "jsonl": lambda document: [json.loads(line)["n"] for line in document.splitlines()],
    "csv": lambda document: [int(row[0]) for row in read_csv(document)[1:]],
    "xml": lambda document: [item["n"] for item in read_xml(document)],
    "md": lambda document: [int(row[0]) for row in read_md(document)[1:]],
    "sqlite": lambda document: [row[0] for row in read_sqlite(document)[1]],
    "parquet": lambda document: list(read_parquet(document).column("n").to_pylist()),
}


def arguments(site: demo.PracticeSite, pages: int, *more: str) -> list[str]:
    url = f"{site.url}/headers?n={{0..{pages - 1}}}"
    return ["run", "posts.py", "--urls", url, "-j", "2", "--publish-every", "1s", *more]


def wait_until(condition: Callable[[], Any], seconds: float = 30) -> None:
    """Until it holds; fails if it doesn't in that time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_outputs_are_whole_and_grow_while_the_crawl_is_at_work(
    tmp_cwd: Path, site: demo.PracticeSite
) -> None:
    spider_file(tmp_cwd / "posts.py", SPIDER)
    names = [f"out.{name}" for name in FORMATS if is_installed(name)]
    seen: dict[str, list[int]] = {name: [0] for name in names}
    outputs = [part for name in names for part in ("-o", name)]
    process = start_crawl(*arguments(site, 100, *outputs))
    while process.poll() is None:
        for name in filter(os.path.exists, names):
            found = READERS[name.removeprefix("out.")](Path(name).read_bytes())
            assert found == list(range(len(found))), name
            if len(found) != seen[name][-1]:
                seen[name].append(len(found))
        if all(len(sizes) > 1 for sizes in seen.values()):
            Path("go").touch()
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert "not refreshed" not in said
    for name, sizes in seen.items():
        assert READERS[name.removeprefix("out.")](Path(name).read_bytes()) == list(range(100))
        assert sizes == sorted(sizes)
        assert 0 < sizes[1] <= 60, f"{name} was never there before the end"
    assert not list(tmp_cwd.glob(".*.tmp"))


def test_killed_it_leaves_what_was_published_and_is_resumed(
    tmp_cwd: Path, site: demo.PracticeSite
) -> None:
    spider_file(tmp_cwd / "posts.py", SPIDER)
    output = Path("posts.jsonl")
    process = start_crawl(*arguments(site, 100, "-o", "posts.jsonl"))
    wait_until(output.exists)
    signal_all(process, signal.SIGKILL)
    process.communicate()
    before = READERS["jsonl"](output.read_bytes())
    assert before == list(range(len(before)))
    assert 0 < len(before) <= 60
    (items,) = tmp_cwd.glob("output/runs/posts/2*/items.jsonl")
    assert items.read_bytes().startswith(output.read_bytes())
    Path("go").touch()
    done = crawl("resume")
    assert done.returncode == 0, done.stderr
    assert READERS["jsonl"](output.read_bytes()) == list(range(100))


def items_file(folder: Path, content: bytes) -> Path:
    path = folder / "items.jsonl"
    path.write_bytes(content)
    return path


def test_it_ends_with_the_crawl_that_began_it(tmp_path: Path) -> None:
    """A crawl that is killed closes its end of the pipe; the old file stays."""
    items = items_file(tmp_path, b'{"n": 1}\n' * 400_000)
    output = tmp_path / "out.md"
    output.write_text("old")
    refresher = Refresher([parse_target(str(output))], items, every=0.01)
    refresher.checkpoint(items.stat().st_size, 400_000)
    wait_until(lambda: list(tmp_path.glob(".out.md.*.tmp")))
    assert refresher._process is not None
    process = psutil.Process(refresher._process.pid)
    refresher.close()
    assert not process.is_running()
    assert output.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["items.jsonl", "out.md"]


def test_too_few_items_leave_the_old_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = items_file(tmp_path, b"{}\n{}\n{}\n")
    output = tmp_path / "out.jsonl"
    refresher = Refresher([parse_target(str(output))], items, every=0.01, least=3)
    refresher.checkpoint(6, 2)
    assert not refresher._is_closing.wait(0.3)
    assert not output.exists()
    refresher.checkpoint(9, 3)
    wait_until(output.exists)
    refresher.close()


def test_nothing_is_done_while_nothing_comes(tmp_path: Path) -> None:
    items = items_file(tmp_path, b"{}\n{}\n")
    output = tmp_path / "out.jsonl"
    refresher = Refresher([parse_target(str(output))], items, every=0.01)
    refresher.checkpoint(3, 1)
    wait_until(lambda: refresher._published == 3)
    output.write_text("as it was")
    assert not refresher._is_closing.wait(0.3)
    assert output.read_text() == "as it was"
    refresher.checkpoint(6, 2)
    wait_until(lambda: output.read_bytes() == b"{}\n{}\n")
    refresher.close()


def test_an_output_that_can_not_be_written_is_told_and_others_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = items_file(tmp_path, b'{"n": 1}\n{"n": 2}\n{"n"')
    gone, output = tmp_path / "gone/out.json", tmp_path / "out.json"
    targets = [parse_target(str(gone)), parse_target(str(output)), parse_target("-:csv")]
    refresher = Refresher(targets, items, every=0.01)
    refresher.checkpoint(9, 1)
    wait_until(lambda: caplog.messages)
    refresher.close()
    assert json.loads(output.read_bytes()) == [{"n": 1}], "what is behind the checkpoint isn't"
    assert caplog.messages[0].startswith("the outputs were not refreshed: can't write ")
    assert f"{gone}: No such file" in caplog.messages[0]


@pytest.mark.parametrize(
    "text", ["a.csv.gz", "s3://b/{name}.sqlite", "/x/y.parquet", "posts.txt:json"]
)
def test_a_target_travels_as_json(text: str) -> None:
    target: Target = parse_target(text, {"name": "posts"}, key="id", table="b", csv_safe=True)
    assert _from_json(json.loads(json.dumps(_as_json(target)))) == target


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), (90, 90), ("90s", 90), ("5m", 300), ("1.5h", 5400)]
)
def test_times_have_units(text: object, seconds: float) -> None:
    assert resolve([("a test", {"publish_every": text})]).publish_every == seconds


@pytest.mark.parametrize("text", ["", "m", "5 minutes", "0.5", "-1m", "5d", None])
def test_what_is_no_time(text: object) -> None:
    with pytest.raises(SettingError):
        resolve([("a test", {"publish_every": text})])
