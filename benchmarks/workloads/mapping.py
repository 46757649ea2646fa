"""What a call through a pool costs: functions that do nothing, with 4 workers.

`crawler.map` and the pools beside the standard library's; the workers' CPU is included.
"""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.pool
import operator
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psutil

import crawler
from benchmarks.rounds import Bench, say
from benchmarks.section import Section
from benchmarks.table import Table, number, spread

NEEDS_NGINX = False
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


def cost(way: Way, count: int) -> float:
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


def measure(bench: Bench) -> Section:
    """Ours and the standard library's, in turn."""
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
        section = Section("mapping")
        rows = []
        for label, ((name, their_way, count), (_, our_way, _)) in table.items():
            own = section.figures[label] = {name: {"us": []}, "ours": {"us": []}}
            for _ in range(bench.rounds):
                own[name]["us"].append(cost(their_way, count))
                own["ours"]["us"].append(cost(our_way, count))
            ratio = section.ratio(label, ("ours", "us"), (name, "us")) or 0
            say(f"  {label}: {ratio:.1f} times {name}")
            costs = [spread(own[name]["us"]), spread(own["ours"]["us"])]
            rows.append([label, name, *costs, number(ratio)])
    columns = ["", "the standard library's", "CPU, µs a call", "ours", "ours / theirs"]
    section.tables.append(Table("", columns, rows))
    return section
