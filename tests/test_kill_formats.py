"""Killed in its midst and resumed, a crawl has the same output in every format."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from command_line import CRAWL, signal_all, spider_file
from crawler import demo
from crawler.exporters import FORMATS
from test_exporters import is_installed, needed, read_parquet, read_sqlite, sqlite_tables

SPIDER = """
import time
from pathlib import Path

@spider()
def graph(response):
    number = int(response.url.rpartition("/")[2].partition("?")[0])
    while Path(f"wait-at-{number}").exists():
        time.sleep(0.01)
    title, links = response.css("title::text").get(), response.css("a::attr(href)").getall()
    yield {"n": number, "kind": "page", "title": title, "half": number / 2}
    yield {"n": number, "kind": "list", "links": links, "汉": [1, None]}
    yield from response.follow_all(css="a")
"""
"""Some pages wait until they may go on: so it is known where a crawl is when it is killed."""

KILLED_AT = (30, 70, 110)
"""Pages, in the order of the crawl."""


@dataclass(frozen=True)
class Outputs:
    """Folders with the outputs of an undisturbed crawl, and of one that was killed."""

    undisturbed: Path
    resumed: Path


def names() -> list[str]:
    """An output for each format, and some that are compressed."""
    return [f"out.{name}" for name in FORMATS if is_installed(name)] + ["out.csv.gz"]


def command(url: str) -> list[str]:
    outputs = [part for name in names() for part in ("-o", name)]
    return [*CRAWL, "run", "graph.py", "--urls", url, "-j", "3", "--resume", *outputs]


def kill_at(ask: list[str], folder: Path, before: int) -> int:
    """Crawl until more than that is at a checkpoint, and kill; the bytes of items there are."""
    process = subprocess.Popen(ask, cwd=folder, stderr=subprocess.PIPE, text=True, process_group=0)
    size = before
    while size <= before:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
        size = sum(file.stat().st_size for file in folder.glob("output/runs/graph/2*/items.jsonl"))
    signal_all(process, signal.SIGKILL)
    assert ("resuming" in process.communicate()[1]) == (before > 0)
    return size


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, site: demo.PracticeSite) -> Outputs:
    undisturbed, resumed = (tmp_path_factory.mktemp(name) for name in ("undisturbed", "resumed"))
    ask = command(f"{site.url}/graph/7/150/page/1?links=4")
    for folder in (undisturbed, resumed):
        spider_file(folder / "graph.py", SPIDER)
    subprocess.run(ask, cwd=undisturbed, check=True, capture_output=True)
    found = [json.loads(line)["n"] for line in (undisturbed / "out.jsonl").read_text().splitlines()]
    gates = [resumed / f"wait-at-{found[2 * place]}" for place in KILLED_AT]
    for gate in gates:
        gate.touch()
    size = 0
    for gate in gates:
        size = kill_at(ask, resumed, size)
        assert not list(resumed.glob("out.*"))
        gate.unlink()
    done = subprocess.run(ask, cwd=resumed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Outputs(undisturbed, resumed)


@pytest.mark.parametrize("format_name", [needed(name) for name in FORMATS])
def test_f1_the_output_is_the_same_after_kills(outputs: Outputs, format_name: str) -> None:
    name = f"out.{format_name}"
    expected, found = (
        (folder / name).read_bytes() for folder in (outputs.undisturbed, outputs.resumed)
    )
    assert len(expected) > 5_000
    if format_name == "sqlite":
        assert read_sqlite(found) == read_sqlite(expected)
    elif format_name == "parquet":
        assert read_parquet(found).equals(read_parquet(expected))
    assert found == expected, "the same bytes too"


def test_tables_for_kinds_of_items_are_the_same_after_kills(outputs: Outputs) -> None:
    found = []
    for folder in (outputs.undisturbed, outputs.resumed):
        ask = [*CRAWL, "export", "graph", "-o", "kinds.sqlite", "--table", "kind", "--key", "n"]
        subprocess.run(ask, cwd=folder, check=True, capture_output=True)
        found.append((folder / "kinds.sqlite").read_bytes())
    assert found[0] == found[1]
    tables = sqlite_tables(found[0])
    lines = (outputs.undisturbed / "out.jsonl").read_text(encoding="utf-8").splitlines()
    numbers = [json.loads(line)["n"] for line in lines]
    assert [row["n"] for row in tables["page"]] == numbers[::2], "in the order of the crawl"
    assert [row["n"] for row in tables["list"]] == numbers[1::2]


def test_a_compressed_output_is_the_same_after_kills(outputs: Outputs) -> None:
    name = "out.csv.gz"
    assert (outputs.undisturbed / name).read_bytes() == (outputs.resumed / name).read_bytes()
    assert not list(outputs.resumed.glob(".*.tmp")), "and nothing else is left"
