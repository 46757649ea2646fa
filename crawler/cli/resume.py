"""`crawl resume`: go on with a run that came to no end."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from crawler.cli.flags import display_options, setting_options
from crawler.cli.session import Asked, Progress, crawl_and_report


@click.command(short_help="Go on with a run that came to no end.")
@click.argument("run", required=False)
@click.option("--output-dir", metavar="FOLDER", help="Where to look for runs (output).")
@setting_options
@display_options
def resume(
    run: str | None,
    output_dir: str | None,
    progress: Progress,
    verbose: int,
    quiet: int,
    **settings: str | tuple[str, ...] | None,
) -> None:
    """Go on with RUN: a run's name, id or folder; by default the last one that came to no end.

    Asks for the same as the run did; a setting given here takes its place. What is done isn't
    fetched again, and the output is the same as that of a run without an interruption.
    """
    from crawler.cli.console import log_to_stderr
    from crawler.errors import UsageError
    from crawler.run import OUTPUT_FOLDER

    log_to_stderr(verbose, quiet)
    facts = _find(run, Path(output_dir) if output_dir else OUTPUT_FOLDER)
    folder = facts["folder"].absolute()
    asked = facts.get("asked")
    if asked is None:
        raise UsageError(
            f"{folder} was begun by a program: call crawler.run(..., resume=True) there"
        )
    given = {key: value for key, value in settings.items() if value not in (None, ())}
    asked = _asked(asked, given)
    os.chdir(asked.cwd)  # where its spider, crawl.toml and outputs are
    crawl_and_report(asked, resume=folder, progress=progress, quiet=quiet)


def _asked(kept: dict[str, Any], given: dict[str, Any]) -> Asked:
    known = {field.name for field in fields(Asked)}
    values = {key: value for key, value in kept.items() if key in known}
    for key, value in values.items():
        if isinstance(value, list):
            values[key] = tuple(value)
    return Asked(**{**values, "settings": {**kept["settings"], **given}})


def _find(run: str | None, output: Path) -> dict[str, Any]:
    """The run.json of an unfinished run, with its folder."""
    from crawler.errors import UsageError
    from crawler.run_folder import find_runs, is_unfinished

    found = find_runs(output, run)
    for facts in found:
        if is_unfinished(facts):
            return facts
    which = "" if run is None else f" of {run}"
    if found:
        raise UsageError(f"nothing to resume: the last run{which}, {found[0]['id']}, is finished")
    raise UsageError(f"nothing to resume: there is no run{which} in {output}")
