"""Is `crawl thumbs` as quick as the short script? `python -m benchmarks.thumbnails DIR [ROUNDS]`

The script: `ThreadPool(8).starmap(save, zip(paths, repeat(out)))`, in three versions:

- `resize`: Pillow's `resize` to 75x75, in RGB, as cv2.imread has it: what `--how exact` is for;
- `thumbnail`: Pillow's `thumbnail`, which takes every so-manieth pixel of a picture with a palette;
- `thumbnail-colours`: the same, but smooth for those, too, as `--how fit` has it.

All are programs of their own, in turn; a first round, which
fills the caches of files and bytecode, isn't counted. Prints the CPU and wall seconds of each, and
checks that all made the same files. `--script VERSION DIR OUT` runs a script alone.
"""

from __future__ import annotations

import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

SCRIPT = [sys.executable, "-m", "benchmarks.thumbnails", "--script"]
THUMBS = [sys.executable, "-m", "crawler", "thumbs", "-j", "8"]
WAYS = {
    "the script, resize": ([*SCRIPT, "resize"], "the script, resize"),
    "crawl thumbs, exact": ([*THUMBS, "--how", "exact"], "the script, resize"),
    "the script, thumbnail": ([*SCRIPT, "thumbnail"], "the script, thumbnail"),
    "the script, thumbnail, colours": (
        [*SCRIPT, "thumbnail-colours"],
        "the script, thumbnail, colours",
    ),
    "crawl thumbs, fit": (THUMBS, "the script, thumbnail, colours"),
}
"""The commands, and which they are compared with."""


def script(version: str, folder: Path, out: Path) -> None:
    """As people write it, but for files that are no pictures: those it would end at."""
    from PIL import Image, UnidentifiedImageError

    def save(path: Path, out: Path) -> None:
        try:
            with Image.open(path) as image:
                target = out / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                if version == "resize":
                    image.convert("RGB").resize((75, 75)).save(target)
                    return
                small: Image.Image = image
                if version == "thumbnail-colours" and image.mode == "P":
                    small = image.convert("RGBA" if image.has_transparency_data else "RGB")
                small.thumbnail((75, 75))
                small.save(target)
        except UnidentifiedImageError:
            print(f"{path} is no picture", file=sys.stderr)

    paths = [path for path in folder.rglob("*") if path.is_file()]
    with ThreadPool(8) as pool:
        pool.starmap(save, zip(paths, itertools.repeat(out), strict=False))


def measure(
    command: list[str], folder: Path, out: Path, environment: dict[str, str]
) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        [*command, str(folder), str(out)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode in (0, 3), done.stderr
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def files(out: Path) -> set[str]:
    found = {os.fspath(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    return found - {"thumbnails.jsonl"}


def main(folder: Path, rounds: int) -> None:
    """Run all in turn and print the table."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    # All that is made stays until the end: ext4 looks long for an inode after many were freed.
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": os.path.join(scratch, "bytecode")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for number in range(rounds + 1):
            made = {}
            for name, (command, _) in WAYS.items():
                out = Path(scratch, f"{number} {name}")
                out.mkdir()
                times[name].append(measure(command, folder, out, environment))
                made[name] = files(out)
            names = made["the script, resize"]
            for each in made.values():
                assert len(each) == len(names)
                # Ours has the suffix of what it really is after a name that says something else.
                assert all({n, f"{n}.png", f"{n}.jpg"} & each for n in names)
    print(f"{len(names)} thumbnails of {folder}, {rounds} rounds, medians\n")
    print("| | CPU, s | wall, s | CPU, of the script's | wall, of the script's |")
    print("|---|---|---|---|---|")
    for name, (_, script_name) in WAYS.items():
        counted = times[name][1:]
        cpu, wall = (statistics.median(column) for column in zip(*counted, strict=True))
        pairs = zip(counted, times[script_name][1:], strict=True)
        ratios = [(mine[0] / its[0], mine[1] / its[1]) for mine, its in pairs]
        shares = " | ".join(f"{statistics.median(c):.2f}" for c in zip(*ratios, strict=True))
        print(f"| {name} | {cpu:.2f} | {wall:.2f} | {shares} |")


if __name__ == "__main__":
    if sys.argv[1] == "--script":
        script(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
