"""How the cost grows: with pages, links on a page, bytes of a page, hosts and worker processes.

One thing at a time, on made-up sites; ours alone. A line is fitted to the CPU of the whole command:
its slope is what one more costs. If cost grows in proportion, the slope of the last step is that of
the first.
"""

from __future__ import annotations

import shutil
import statistics
from dataclasses import dataclass, replace

from benchmarks import nginx
from benchmarks.answers import WrongAnswerError, pages_in
from benchmarks.programs import ours
from benchmarks.rounds import Bench, say
from benchmarks.section import Section
from benchmarks.sites import write_site
from benchmarks.table import Table, number, spread

NEEDS_NGINX = True


@dataclass(frozen=True, slots=True)
class Shape:
    """A site, and how it is crawled."""

    pages: int = 1_000
    """On each host."""
    links: int = 20
    size: int = 4_000
    hosts: int = 1
    workers: int = 0
    """Worker processes; none: an event loop."""


STEPS = {
    "pages": [Shape(pages=pages) for pages in (500, 1_000, 2_000, 4_000, 8_000)],
    "links a page": [Shape(links=links, size=30_000) for links in (20, 50, 100, 200, 400)],
    "KB a page": [Shape(size=size) for size in (4_000, 16_000, 64_000, 256_000)],
    "hosts, of 2,000 pages in all": [
        Shape(pages=2_000 // hosts, hosts=hosts) for hosts in (1, 2, 5, 10, 50)
    ],
    "worker processes": [Shape(workers=workers) for workers in (1, 2, 4)],
}


def value(what: str, shape: Shape) -> float:
    """The one thing that is different."""
    return {
        "pages": shape.pages,
        "links a page": shape.links,
        "KB a page": shape.size / 1e3,
        "hosts, of 2,000 pages in all": shape.hosts,
        "worker processes": shape.workers,
    }[what]


def measure(bench: Bench) -> Section:
    """A table a question, and one of all slopes."""
    section = Section("growth")
    slopes = []
    for what, shapes in STEPS.items():
        found: dict[float, list[float]] = {value(what, shape): [] for shape in shapes}
        for _ in range(bench.rounds):
            for shape, cpu in zip(shapes, found.values(), strict=True):
                cpu.append(crawled(bench, shape))
                say(f"  {value(what, shape):g} {what}: {cpu[-1]:.2f} s")
        section.figures[what] = {f"{at:g}": {"cpu_seconds": cpu} for at, cpu in found.items()}
        rows = [[f"{at:g}", spread(cpu)] for at, cpu in found.items()]
        section.tables.append(Table("", [what, "CPU, s"], rows))
        points = [(at, statistics.median(cpu)) for at, cpu in found.items()]
        slopes.append([what, *map(number, slope_and_steps(points))])
    columns = ["", "CPU of one more, ms", "of the first step", "of the last step"]
    section.tables.append(Table("Slopes", columns, slopes))
    return section


def slope_and_steps(points: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Of (amount, seconds): milliseconds for one more; fitted, of the first, of the last step."""
    amounts, seconds = zip(*points, strict=True)
    fitted = statistics.linear_regression(amounts, seconds).slope

    def step(before: tuple[float, float], after: tuple[float, float]) -> float:
        return (after[1] - before[1]) / (after[0] - before[0])

    first, last = step(points[0], points[1]), step(points[-2], points[-1])
    return fitted * 1e3, first * 1e3, last * 1e3


def crawled(bench: Bench, shape: Shape) -> float:
    """Seconds of CPU of a crawl of a site; raises WrongAnswerError."""
    folder = bench.scratch / "growth"
    shutil.rmtree(folder, ignore_errors=True)
    start = write_site(folder, pages=shape.pages, links=shape.links, size=shape.size)
    hosts = [f"127.0.{n // 100}.{n % 100 + 1}" for n in range(shape.hosts)]
    mode = ["--mode", "async"]
    if shape.workers:
        mode = ["--mode", "processes", "-j", str(shape.workers)]
    program = ours("growth", *mode, packages=("aiohttp",))
    with nginx.serve(folder, bench.scratch / "nginx", hosts=hosts) as sites:
        starts = [site + start for site in sites]
        runs = replace(bench, rounds=1).in_turn([program], starts, pages_in(folder, starts))
    if program.name in runs.absent:
        raise WrongAnswerError(runs.absent[program.name])
    return runs.figures[program.name]["cpu_seconds"][0]
