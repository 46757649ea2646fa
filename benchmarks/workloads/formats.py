"""What a format costs: items of some 400 bytes, written to a file as at the end of a crawl.

Each has eight fields, two of them nested.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Iterator

from benchmarks.rounds import Bench, say
from benchmarks.section import Section
from benchmarks.table import Table, number, spread
from crawler.errors import UsageError
from crawler.output import parse_target, publish_items

NEEDS_NGINX = False
ITEMS = 200_000
NAMES = [
    *(f"items.{suffix}" for suffix in ("jsonl", "json", "csv", "xml", "md", "sqlite", "parquet")),
    *("items.jsonl.gz", "items.jsonl.zst", "items.csv.gz", "items.csv.zst"),
]
WORDS = [f"{random.Random(number).randrange(10**6):x}" for number in range(2_000)]


def line(count: int) -> bytes:
    """An item."""
    item = {
        "id": count,
        "title": f"The {count}th story, with 汉字 and a | in it",
        "url": f"https://www.example.org/stories/{count}?page=1&sort=new",
        "score": count / 7,
        "is_open": count % 3 == 0,
        "tags": ["one", "two", "three"],
        "author": {"name": "somebody", "age": count % 90},
        "content": " ".join(random.Random(count).choices(WORDS, k=24)),
    }
    return json.dumps(item, ensure_ascii=False).encode()


def measure(bench: Bench) -> Section:
    """All formats in turn, and what each takes beyond JSON lines."""
    source = bench.scratch / "source"
    source.write_bytes(b"".join(line(count) + b"\n" for count in range(ITEMS)))

    def lines() -> Iterator[bytes]:
        with source.open("rb") as file:
            for each in file:
                yield each.rstrip(b"\n")

    section = Section("formats")
    figures = section.figures["formats"] = {}
    sizes: dict[str, float] = {}
    for _ in range(bench.rounds):
        for name in NAMES:
            path = bench.scratch / name
            try:
                target = parse_target(str(path))
                began = time.process_time()
                publish_items(lines, target)
            except UsageError as error:  # an optional package is missing
                section.notes.append(f"{name}: {error}")
                continue
            each = (time.process_time() - began) / ITEMS * 1e6
            figures.setdefault(name, {"us": []})["us"].append(each)
            sizes[name] = path.stat().st_size / 1e6
            say(f"  {name}: {each:.1f} us an item")
    section.notes = sorted(set(section.notes))
    rows = []
    for name, own in figures.items():
        beyond = [a - b for a, b in zip(own["us"], figures[NAMES[0]]["us"], strict=True)]
        rows.append(
            [name, spread(own["us"]), number(statistics.median(beyond)), number(sizes[name])]
        )
    columns = ["", "CPU, µs an item", "beyond JSON lines", "MB"]
    section.tables.append(Table(f"{ITEMS:,} items", columns, rows))
    return section
