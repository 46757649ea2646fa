"""What does a call through a pool cost? `python -m benchmarks.mapping [ROUNDS]`

Calls that do nothing, with 4 workers, through ours and through the standard library's. In turn,
several rounds; prints microseconds of CPU per call, the workers' included, and the ratio to the
standard library's way beside it.
"""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.pool
import operator
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psutil

import crawler

WORKERS = 4
Way = Callable[[range], Iterable[int]]


def family_cpu() -> float:
    """Seconds of CPU of this process and all that came from it and lives."""
    here = psutil.Process()
    total = 0.0
    for process in [here, *here.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def measure(way: Way, count: int) -> float:
    """Microseconds of CPU per call, the start of the workers of `map` included."""
    inputs = range(count)
    assert list(way(range(50))) == list(range(0, -50, -1))
    time.sleep(0.3)  # until the workers of that are gone
    began = family_cpu()
    results = way(inputs)
    assert sum(results) == -sum(inputs)
    return (family_cpu() - began) / count * 1e6


def pool_ways(pool: Any) -> dict[str, tuple[Way, int]]:
    """The methods, with how many calls make half a second."""
    return {
        "map": (lambda inputs: pool.map(operator.neg, inputs), 400_000),
        "imap": (lambda inputs: pool.imap(operator.neg, inputs), 20_000),
    }


def forever(executor: Executor) -> Way:
    return lambda inputs: executor.map(operator.neg, inputs)


def lazily(mode: str) -> Way:
    """From endless inputs, so that the workers live, and count, until the result is dropped."""

    def way(inputs: range) -> Iterable[int]:
        results = crawler.map(operator.neg, itertools.count(), mode=mode, workers=WORKERS)
        return itertools.islice(results, len(inputs))

    return way


def main(rounds: int) -> None:
    """Run all in turn and print the table."""
    spawn = multiprocessing.get_context("forkserver")
    with (
        multiprocessing.pool.ThreadPool(WORKERS) as their_threads,
        spawn.Pool(WORKERS) as their_processes,
        crawler.ThreadPool(WORKERS) as our_threads,
        crawler.Pool(WORKERS) as our_processes,
        ThreadPoolExecutor(WORKERS) as thread_executor,
        ProcessPoolExecutor(WORKERS, mp_context=spawn) as process_executor,
    ):
        table: dict[str, list[tuple[str, Way, int]]] = {}
        for kind, theirs, ours, executor in (
            ("threads", their_threads, our_threads, thread_executor),
            ("processes", their_processes, our_processes, process_executor),
        ):
            for name, (way, count) in pool_ways(theirs).items():
                mine = pool_ways(ours)[name][0]
                label = f"{kind}, Pool.{name}"
                table[label] = [("multiprocessing", way, count), ("ours", mine, count)]
            table[f"{kind}, map"] = [
                ("concurrent.futures", forever(executor), 20_000),
                ("ours", lazily(kind), 20_000),
            ]
        print(f"{rounds} rounds, {WORKERS} workers\n")
        print("| | standard library's | us | ours, us | ratio, median |\n|---|---|---|---|---|")
        for label, ((name, their_way, count), (_, our_way, _)) in table.items():
            pairs = []
            for _ in range(rounds):
                pairs.append((measure(their_way, count), measure(our_way, count)))
            their, our = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(b / a for a, b in pairs if a)
            print(f"| {label} | {name} | {their:.1f} | {our:.1f} | {ratio:.1f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
