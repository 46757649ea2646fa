"""What does a format cost? `python -m benchmarks.items [ITEMS]`

Writes items of some 400 bytes (eight fields, two of them nested) to a file, as it is done at the
end of a crawl. Prints, for each format, CPU per item, the same beyond the JSON lines alone, and
the file's size; the best of three.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from crawler.errors import UsageError
from crawler.output import parse_target, publish_items

NAMES = [
    *(f"items.{suffix}" for suffix in ("jsonl", "json", "csv", "xml", "md", "sqlite", "parquet")),
    *("items.jsonl.gz", "items.jsonl.zst", "items.csv.gz", "items.csv.zst"),
]
WORDS = [f"{random.Random(number).randrange(10**6):x}" for number in range(2_000)]


def line(number: int) -> bytes:
    """An item."""
    item = {
        "id": number,
        "title": f"The {number}th story, with 汉字 and a | in it",
        "url": f"https://www.example.org/stories/{number}?page=1&sort=new",
        "score": number / 7,
        "is_open": number % 3 == 0,
        "tags": ["one", "two", "three"],
        "author": {"name": "somebody", "age": number % 90},
        "content": " ".join(random.Random(number).choices(WORDS, k=24)),
    }
    return json.dumps(item, ensure_ascii=False).encode()


def measure(count: int) -> None:
    """Print a line a format."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.write_bytes(b"".join(line(number) + b"\n" for number in range(count)))

        def lines() -> Iterator[bytes]:
            with source.open("rb") as file:
                for each in file:
                    yield each.rstrip(b"\n")

        first = None
        for name in NAMES:
            path = Path(folder) / name
            try:
                target = parse_target(str(path))
                seconds = min(cpu(lambda: publish_items(lines, target)) for _ in range(3))  # noqa: B023
            except UsageError as error:
                print(f"{name:16} {error}")
                continue
            each = seconds / count * 1e6
            first = each if first is None else first
            size = path.stat().st_size / 1e6
            print(f"{name:16} {each:6.2f} us {each - first:+6.2f} us {size:7.1f} MB", flush=True)


def cpu(work: object) -> float:
    """Seconds of CPU that it takes, all threads together."""
    assert callable(work)
    begin = time.process_time()
    work()
    return time.process_time() - begin


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
