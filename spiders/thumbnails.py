"""Thumbnails of a folder of pictures, 75 x 75: an application of `crawler.starmap`.

    python spiders/thumbnails.py IMAGES THUMBNAILS

A program of its own, no spider. `crawl thumbs` takes more care of folders in folders, of files
with wrong names, and of what is there already.
"""

from __future__ import annotations

import sys
import time
from itertools import repeat
from pathlib import Path

import crawler
from crawler.thumbnail_rule import ThumbnailRule
from crawler.thumbnails import write_thumbnail

RULE = ThumbnailRule((75, 75), "exact")


def save_img(path: Path, output_path: Path) -> Path:
    """Write one thumbnail, under the picture's name; raises ImageError or ValueError."""
    target = output_path / path.name
    write_thumbnail(path, target, RULE)
    return target


def main(input_path: Path, output_path: Path) -> int:
    """Write all thumbnails; tell which files gave none, and how long it took."""
    output_path.mkdir(parents=True, exist_ok=True)
    paths = sorted(input_path.iterdir())
    began = time.monotonic()
    results = crawler.starmap(
        save_img, zip(paths, repeat(output_path)), workers=8, on_error="return", progress=True
    )
    failed = 0
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, Exception):
            failed += 1
            print(f"{path}: {result}", file=sys.stderr)  # noqa: T201
    print(f"{len(paths) - failed} thumbnails: {time.monotonic() - began:.1f} s")  # noqa: T201
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
