"""Figures as Markdown: a median, and in brackets the lowest and the highest of the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.rounds import Runs


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the first column is text, all others are figures."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """The table, ended by a line break."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [f"**{self.title}**", ""] if self.title else []
        lines += [f"| {' | '.join(row)} |" for row in (self.columns, rule, *self.rows)]
        return "\n".join(lines) + "\n"


def of_runs(title: str, runs: Runs, *, per_page: bool = True) -> Table:
    """A row a program, in the order in which they ran; those without a figure say why.

    `per_page`: milliseconds of CPU a page and pages a second; else seconds of both in all.
    """
    shown = ["cpu", "speed", "memory"] if per_page else ["cpu_seconds", "seconds", "memory"]
    columns = {
        "cpu": "CPU, ms a page",
        "speed": "pages a second",
        "cpu_seconds": "CPU, s",
        "seconds": "time, s",
        "memory": "memory, MB",
    }
    rows = []
    for program in runs.order:
        if program in runs.absent:
            rows.append([program, runs.absent[program], *[""] * (len(shown) - 1)])
        else:
            own = runs.figures[program]
            rows.append([program, *(spread(own[name]) for name in shown)])
    return Table(title, ["", *(columns[name] for name in shown)], rows)


def spread(values: Sequence[float]) -> str:
    """`2.50 (2.41 to 2.62)`; only the figure if there was one round."""
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """With three digits that count, and thousands set apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}"
