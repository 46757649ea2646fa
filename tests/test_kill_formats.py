"""Killed in its midst and resumed, a crawl has the same output in every format."""

from __future__ import annotations

import random
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from command_line import CRAWL, signal_all, spider_file
from conftest import told
from crawler import demo
from crawler.exporters import FORMATS
from test_exporters import is_installed, needed, read_parquet, read_sqlite

SPIDER = """
@spider()
def graph(response):
    number = int(response.url.rpartition("/")[2].partition("?")[0])
    yield {"n": number, "title": response.css("title::text").get(), "half": number / 2}
    yield {"n": number, "links": response.css("a::attr(href)").getall(), "汉": [1, None]}
    yield from response.follow_all(css="a")
"""
KILLS = 4


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


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    folders = [tmp_path_factory.mktemp(name) for name in ("undisturbed", "resumed")]
    for folder in folders:
        spider_file(folder / "graph.py", SPIDER)
    seed = random.randrange(10**6)
    lots = random.Random(seed)
    with demo.start(port=0, latency=0.03) as site:
        ask = command(f"{site.url}/graph/7/150/page/1?links=4")
        subprocess.run(ask, cwd=folders[0], check=True, capture_output=True)
        kills = resumed = 0
        while True:
            process = subprocess.Popen(
                ask, cwd=folders[1], stderr=subprocess.PIPE, text=True, process_group=0
            )
            with suppress(subprocess.TimeoutExpired):
                process.wait(lots.uniform(0.4, 1.2) if kills < KILLS else 60)
            if process.poll() is not None:
                break
            kills += 1
            signal_all(process, signal.SIGKILL)
            resumed += "resuming" in process.communicate()[1]
            for file in folders[1].glob("out.*"):  # it was at its end
                assert file.read_bytes() == (folders[0] / file.name).read_bytes()
        said = process.communicate()[1]
        assert process.returncode == 0, said
        assert resumed or "resuming" in said, f"seed {seed}: never killed in its midst"
    told.append(f"all formats: killed {kills} times (seed {seed})")
    return Outputs(*folders)


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


def test_a_compressed_output_is_the_same_after_kills(outputs: Outputs) -> None:
    name = "out.csv.gz"
    assert (outputs.undisturbed / name).read_bytes() == (outputs.resumed / name).read_bytes()
    assert not list(outputs.resumed.glob(".*.tmp")), "and nothing else is left"
