"""Is `crawl thumbs` as quick as the short script? `python -m benchmarks.thumbnails DIR [ROUNDS]`

The script: `ThreadPool(8).starmap(save, zip(paths, repeat(out)))`, with Pillow's `resize` to 75x75,
in RGB, as cv2.imread has it. Both as programs of their own, in turn; prints the CPU and wall
seconds of each, and checks that both made the same files. `python -m benchmarks.thumbnails --script
DIR OUT` runs the script alone.
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

WAYS = {
    "the script": [sys.executable, "-m", "benchmarks.thumbnails", "--script"],
    "crawl thumbs, exact": [sys.executable, "-m", "crawler", "thumbs", "--how", "exact"],
    "crawl thumbs, fit": [sys.executable, "-m", "crawler", "thumbs"],
    "crawl thumbs, fit, processes": [
        *(sys.executable, "-m", "crawler", "thumbs"),
        *("--mode", "processes"),
    ],
}


def script(folder: Path, out: Path) -> None:
    """As people write it, but for files that are no pictures: those it would end at."""
    from PIL import Image, UnidentifiedImageError

    def save(path: Path, out: Path) -> None:
        try:
            with Image.open(path) as image:
                target = out / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                image.convert("RGB").resize((75, 75)).save(target)
        except UnidentifiedImageError:
            print(f"{path} is no picture", file=sys.stderr)

    paths = [path for path in folder.rglob("*") if path.is_file()]
    with ThreadPool(8) as pool:
        pool.starmap(save, zip(paths, itertools.repeat(out), strict=False))


def measure(command: list[str], folder: Path, out: Path) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        [*command, str(folder), str(out), *(["-j", "8"] if "thumbs" in command else [])],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
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
    for _ in range(rounds):
        made = {}
        for name, command in WAYS.items():
            with tempfile.TemporaryDirectory() as out:
                times[name].append(measure(command, folder, Path(out)))
                made[name] = files(Path(out))
        for names in made.values():
            assert len(names) == len(made["the script"])
            # Ours has the suffix of what the file really is after a name that says something else.
            assert all({n, f"{n}.png", f"{n}.jpg"} & names for n in made["the script"])
    print(f"{len(made['the script'])} thumbnails of {folder}, {rounds} rounds, medians\n")
    print("| | CPU, s | wall, s | of the script's CPU | of its wall |\n|---|---|---|---|---|")
    for name, each in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*each, strict=True))
        pairs = zip(each, times["the script"], strict=True)
        ratios = [(mine[0] / its[0], mine[1] / its[1]) for mine, its in pairs]
        shares = " | ".join(f"{statistics.median(c):.2f}" for c in zip(*ratios, strict=True))
        print(f"| {name} | {cpu:.2f} | {wall:.2f} | {shares} |")


if __name__ == "__main__":
    if sys.argv[1] == "--script":
        script(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
