"""What a workload found: tables to read, figures for the goals, and where and when it was."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.rounds import Runs
from benchmarks.table import Table, of_runs

Figures = dict[str, dict[str, dict[str, list[float]]]]
"""By part of a workload (a site), program, name of the figure: one of each round."""


@dataclass(slots=True)
class Section:
    """The result of one workload."""

    workload: str
    tables: list[Table] = field(default_factory=list)
    figures: Figures = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    """When, on what machine, with which versions."""

    def add(self, part: str, title: str, runs: Runs, *, per_page: bool = True) -> None:
        """The table of some runs, and the figures that it is made from."""
        self.tables.append(of_runs(title, runs, per_page=per_page))
        self.figures[part] = runs.figures

    def ratio(self, part: str, above: tuple[str, str], below: tuple[str, str]) -> float | None:
        """The median of the rounds' ratios of two figures, each (program, name); None without them.

        Round by round, for what disturbs a program mostly disturbs its neighbour too.
        """
        numerators, denominators = self._rounds(part, *above), self._rounds(part, *below)
        if not numerators or not denominators:
            return None
        return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))

    def median(self, part: str, program: str, name: str) -> float | None:
        """A figure; None if it was not measured."""
        values = self._rounds(part, program, name)
        return statistics.median(values) if values else None

    def _rounds(self, part: str, program: str, name: str) -> list[float]:
        return self.figures.get(part, {}).get(program, {}).get(name, [])


def save(sections: dict[str, Section], path: Path) -> None:
    """Write them all to a JSON file, from which the document is made."""
    whole = {name: asdict(section) for name, section in sections.items()}
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path) -> dict[str, Section]:
    """What `save` wrote; nothing if there is no such file yet."""
    if not path.exists():
        return {}
    whole = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Section(**{**kept, "tables": [Table(**table) for table in kept["tables"]]})
        for name, kept in whole.items()
    }
