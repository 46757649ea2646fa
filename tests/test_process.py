"""What our own processes are like; a process that only uses the package is left as it is."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest

import crawler
from command_line import crawl

SPIDER = """
import gc

def threshold(url):
    is_kept = gc.get_freeze_count() > 0
    return {"on": gc.isenabled(), "objects": gc.get_threshold()[0], "kept": is_kept}
"""


@pytest.fixture
def spider(tmp_cwd: Path) -> Path:
    file = tmp_cwd / "threshold.py"
    file.write_text(SPIDER)
    return file


@pytest.mark.parametrize("mode", ["sequential", "threads", "processes"])
def test_the_command_and_its_workers_collect_garbage_less_often(mode: str, spider: Path) -> None:
    done = crawl("run", str(spider), "--urls", "http://x/", "--mode", mode, "-o", "items.json")
    assert done.returncode == 0, done.stderr
    ours = {"on": True, "objects": 3_000, "kept": True}
    assert json.loads(Path("items.json").read_text()) == [ours]


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_a_script_is_not_told_how_often(mode: str, spider: Path) -> None:
    gc.unfreeze()  # another test may have run the command in this very process
    before = gc.get_threshold()
    crawler.run(str(spider), urls=["http://x/"], mode=mode, output="items.json")
    assert gc.get_threshold() == before
    is_worker = mode == "processes"
    objects = 3_000 if is_worker else before[0]
    given = {"on": True, "objects": objects, "kept": is_worker}
    assert json.loads(Path("items.json").read_text()) == [given]
