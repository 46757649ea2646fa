"""`crawl runs`: what runs there are, and how they ended."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from crawler.cli.flags import named, place

Row = dict[str, Any]

_TITLES = {
    "id": "id",
    "name": "name",
    "state": "state",
    "pages": "pages",
    "items": "items",
    "failed": "failed",
    "began": "began",
    "seconds": "seconds",
    "resumable": "resumable",
}
_NUMBERS = frozenset({"pages", "items", "failed", "seconds"})


@click.command(short_help="List the runs, the newest first.")
@click.argument("name", required=False, callback=named)
@click.option(
    "--output-dir", callback=place, default="output", help="Where run folders are (output)."
)
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each run.")
def runs(name: str | None, output_dir: Path, as_json: bool) -> None:
    """List the runs (of NAME), the newest first, with what they found and how they ended.

    A run that is running and one that was killed show what they had at their last checkpoint.
    """
    rows = list(_rows(output_dir, name))
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    elif rows:
        _print_table(rows)
    else:
        which = "" if name is None else f" of {name}"
        click.echo(f"no runs{which} in {output_dir}", file=sys.stderr)


def state_of(facts: Mapping[str, Any]) -> str:
    """How a run stands: `running` only if it is; `interrupted` if it was killed."""
    state = facts.get("state")
    if state != "running":
        return state if state in ("finished", "stopped", "failed") else "damaged"
    return "running" if _is_alive(facts) else "interrupted"


def _is_alive(facts: Mapping[str, Any]) -> bool:
    from crawler.errors import UsageError
    from crawler.progress import Block

    name, pid = facts.get("progress"), facts.get("pid")
    if isinstance(name, str):
        with suppress(UsageError), Block.attach(name) as block:
            return block.owner_alive()
        return False
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)  # it has just begun, and has no counters yet
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _rows(output: Path, name: str | None) -> Iterator[Row]:
    from crawler.errors import UsageError
    from crawler.run_folder import read_run, run_folders

    for folder in run_folders(output, name):
        try:
            facts = read_run(folder)
        except UsageError:
            if (folder / "run.json").exists():  # else it has just begun, or never did
                yield _row(folder, {}, "damaged", {}, is_resumable=False)
            continue
        yield _row_of(folder, facts)


def _row_of(folder: Path, facts: Mapping[str, Any]) -> Row:
    from crawler.errors import UsageError
    from crawler.run_folder import is_unfinished

    state = state_of(facts)
    stats = {} if state in ("running", "interrupted") else _stats(folder)
    is_resumable = state != "running" and is_unfinished(dict(facts))
    if not stats and state != "finished":
        try:
            stats = _last_checkpoint(folder)
        except UsageError:
            state, is_resumable = "damaged", False
    return _row(folder, facts, state, stats, is_resumable=is_resumable)


def _row(
    folder: Path,
    facts: Mapping[str, Any],
    state: str,
    stats: Mapping[str, Any],
    *,
    is_resumable: bool,
) -> Row:
    seconds = stats.get("seconds")
    return {
        "id": str(facts.get("id", folder.name)),
        "name": str(facts.get("name", folder.parent.name)),
        "state": state,
        "pages": _count(stats, "pages", "failed"),
        "items": _count(stats, "items"),
        "failed": _count(stats, "failed"),
        "began": _text(facts.get("started")),
        "seconds": round(seconds, 2) if isinstance(seconds, (int, float)) else None,
        "resumable": is_resumable,
        "folder": str(folder),
    }


def _count(stats: Mapping[str, Any], *names: str) -> int | None:
    counts = [count for name in names if isinstance(count := stats.get(name), int)]
    return sum(counts) if len(counts) == len(names) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _stats(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        stats = json.loads((folder / "stats.json").read_bytes())
        if isinstance(stats, dict):
            return stats
    return {}


def _last_checkpoint(folder: Path) -> dict[str, Any]:
    """The statistics at the last checkpoint; raises UsageError if they can't be read."""
    from crawler.history import History
    from crawler.journal import JOURNAL

    with History.of(folder / JOURNAL) as history:
        stats = history.state().get("stats")
    return stats if isinstance(stats, dict) else {"pages": 0, "items": 0, "failed": 0}


def _print_table(rows: list[Row]) -> None:
    lines = [list(_TITLES.values()), *([_cell(row[key]) for key in _TITLES] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.rjust(width) if key in _NUMBERS else cell.ljust(width)
            for key, cell, width in zip(_TITLES, line, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    from crawler.escape import printable

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    return printable(str(value))
