"""`crawl resume`: go on with a run that came to no end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crawler.cli.flags import display_options, named, setting_options
from crawler.cli.session import Asked, Progress, crawl_and_report


@click.command(short_help="Go on with a run that came to no end.")
@click.argument("run", required=False, callback=named)
@click.option(
    "--output-dir", metavar="FOLDER", callback=named, help="Where to look for runs (output)."
)
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
    from crawler.run import OUTPUT_FOLDER

    log_to_stderr(verbose, quiet)
    facts = _find(run, Path(output_dir) if output_dir else OUTPUT_FOLDER)
    folder = facts["folder"].absolute()
    here = Path.cwd()
    in_program = "there, crawler.run(..., resume=True) resumes the last run"
    asked = Asked.again(facts, settings, otherwise=in_program).go_home(folder)
    crawl_and_report(asked, resume=folder, progress=progress, quiet=quiet, here=here)


def _find(run: str | None, output: Path) -> dict[str, Any]:
    """The run.json of an unfinished run, with its folder."""
    from crawler.errors import UsageError
    from crawler.journal import JOURNAL
    from crawler.run_folder import is_unfinished, read_run, run_folders, runs_called

    found = runs_called(run, output)
    for facts in found:
        if is_unfinished(facts):
            return facts
    if not found:
        for folder in run_folders(output):
            if run is None or run in folder.parts:
                read_run(folder)  # raises: it is one that couldn't be listed
        which = "" if run is None else f" of {run}"
        raise UsageError(f"nothing to resume: there is no run{which} in {output}")
    last = found[0]["folder"]
    if found[0].get("state") == "finished":
        raise UsageError(f"nothing to resume: the last run, {last}, is finished")
    raise UsageError(f"nothing to resume: {last / JOURNAL} is gone")
