"""The questions, a module each: `measure(bench)` returns the Section with the answer.

`NEEDS_NGINX` says whether the server is needed. A module's docstring is what the document says
about it.
"""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from benchmarks.rounds import Bench
from benchmarks.section import Section

NAMES = (
    *("docs", "seed", "latency", "frontier", "items", "growth", "soup", "faults"),
    *("order", "formats", "mapping", "parts"),
)
"""In the order of the document."""


class Workload(Protocol):
    """What a module in this folder has."""

    __doc__: str | None
    NEEDS_NGINX: bool

    def measure(self, bench: Bench) -> Section: ...


def workload(name: str) -> Workload:
    """The module of that name."""
    return cast(Workload, importlib.import_module(f"benchmarks.workloads.{name}"))
