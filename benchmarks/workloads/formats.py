"""What a format costs: a million items of some 400 bytes, written to a file as at a crawl's end.

Each has eight fields, two of them nested; each format has a process of its own. Memory is what all
of the items took beyond the first thousand. Made for the run's folder, when its page is committed,
is each line that the formats are given.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.rounds import Bench, say
from benchmarks.section import Section
from benchmarks.table import Table, number, spread
from crawler.errors import UsageError
from crawler.lines import line_of
from crawler.output import parse_target, publish_items

NEEDS_NGINX = False
NEEDS_PACKAGES = ("pyarrow", "zstandard")
ITEMS = 1_000_000
NAMES = [
    *(f"items.{suffix}" for suffix in ("jsonl", "json", "csv", "xml", "md", "sqlite", "parquet")),
    *("items.jsonl.gz", "items.jsonl.zst", "items.csv.gz", "items.csv.zst"),
    *("items.jsonl --key id", "items.sqlite --key id"),
]
COMMIT = "made at commit"
WORDS = [f"{random.Random(count).randrange(10**6):x}" for count in range(2_000)]


def item(count: int) -> dict[str, Any]:
    """An item."""
    return {
        "id": count,
        "title": f"The {count}th story, with 汉字 and a | in it",
        "url": f"https://www.example.org/stories/{count}?page=1&sort=new",
        "score": count / 7,
        "is_open": count % 3 == 0,
        "tags": ["one", "two", "three"],
        "author": {"name": "somebody", "age": count % 90},
        "content": " ".join(random.Random(count).choices(WORDS, k=24)),
    }


def measure(bench: Bench) -> Section:
    """All formats in turn, and what each takes beyond JSON lines."""
    source = bench.scratch / "source"
    with source.open("wb") as file:
        file.writelines(line_of(item(count)) + b"\n" for count in range(ITEMS))
    some = [item(count) for count in range(20_000)]
    section = Section("formats")
    figures = section.figures["formats"] = {}
    sizes: dict[str, float] = {}
    for _ in range(bench.rounds):
        began = time.process_time()
        made = list(map(line_of, some))
        each = (time.process_time() - began) / len(made) * 1e6
        figures.setdefault(COMMIT, {"us": []})["us"].append(each)
        for name in NAMES:
            command = [bench.python, "-m", "benchmarks.workloads.formats", str(source), name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            if "missing" in found:  # an optional package
                section.notes.append(f"{name}: {found['missing']}")
                continue
            own = figures.setdefault(name, {"us": [], "memory": []})
            own["us"].append(found["us"])
            own["memory"].append(found["memory"])
            sizes[name] = found["size"]
            say(f"  {name}: {found['us']:.1f} us an item, {found['memory']:+.1f} MB")
    section.notes = sorted(set(section.notes))
    rows = [[COMMIT, spread(figures[COMMIT]["us"]), "", "", ""]]
    for name in filter(figures.__contains__, NAMES):
        own = figures[name]
        beyond = [a - b for a, b in zip(own["us"], figures[NAMES[0]]["us"], strict=True)]
        memory = number(statistics.median(own["memory"]))
        rows.append(
            [
                name,
                spread(own["us"]),
                number(statistics.median(beyond)),
                memory,
                number(sizes[name]),
            ]
        )
    columns = ["", "CPU, µs an item", "beyond JSON lines", "memory, MB", "file, MB"]
    section.tables.append(Table(f"{ITEMS:,} items", columns, rows))
    return section


def lines(source: Path, count: int | None = None) -> Iterator[bytes]:
    """The items in a file."""
    with source.open("rb") as file:
        for line in islice(file, count):
            yield line[:-1]


def peak() -> float:
    """The most memory that this process ever had, in MB; 0 where nobody knows."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0


def one(source: Path, name: str) -> dict[str, Any]:
    """What a format takes; a process of its own does this."""
    file, _, key = name.partition(" --key ")
    path = source.with_name(file)
    try:
        target = parse_target(str(path), key=key or None)
        publish_items(partial(lines, source, 1_000), target)
    except UsageError as error:
        return {"missing": str(error)}
    count = sum(1 for _ in lines(source))
    before = peak()
    began = time.process_time()
    publish_items(partial(lines, source), target)
    seconds = time.process_time() - began
    size = path.stat().st_size / 1e6
    path.unlink()
    return {"us": seconds / count * 1e6, "memory": peak() - before, "size": size}


if __name__ == "__main__":
    print(json.dumps(one(Path(sys.argv[1]), sys.argv[2])))
