"""The questions, a module each: `measure(bench)` returns the Section with the answer.

`NEEDS_NGINX` says whether the server is needed, `NEEDS_SITES`, if it is there, which of Debian's
packages of documentation are crawled, and `NEEDS_PACKAGES` which Python packages ours needs beside
those that all need. A module's docstring is what the document says about it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from itertools import chain
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


def needs(what: str, names: Sequence[str]) -> list[str]:
    """What these workloads say under NEEDS_SITES or NEEDS_PACKAGES, each once."""
    lists = (getattr(workload(name), what, ()) for name in names)
    return list(dict.fromkeys(chain.from_iterable(lists)))
