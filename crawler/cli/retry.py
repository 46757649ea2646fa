"""`crawl retry`: fetch the failed pages of a run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crawler.cli.flags import display_options, named, setting_options
from crawler.cli.session import Asked, Progress, crawl_and_report


@click.command(short_help="Fetch the failed pages of a run again.")
@click.argument("run", callback=named)
@click.option(
    "--output-dir", metavar="FOLDER", callback=named, help="Where to look for runs (output)."
)
@setting_options
@display_options
def retry(
    run: str,
    output_dir: str | None,
    progress: Progress,
    verbose: int,
    quiet: int,
    **settings: str | bool | tuple[str, ...] | None,
) -> None:
    """Fetch the failed pages of RUN again, and put their items in their places.

    RUN is the name of a run, whose last one it is, or an id or folder. It must be finished. The
    outputs are written anew, by a run of its own; a setting given here takes the place of the
    run's. Exits with 0 if nothing failed any more.
    """
    from crawler.cli.console import log_to_stderr, say
    from crawler.run import OUTPUT_FOLDER
    from crawler.wording import plural

    log_to_stderr(verbose, quiet)
    facts = _find(run, Path(output_dir) if output_dir else OUTPUT_FOLDER)
    failed, failed_items = _counts(facts["folder"])
    items = plural(failed_items, "item")
    stays = f"; {items} that failed in a step stay so" if failed_items else ""
    if not failed:
        say(f"nothing to retry: no page of {facts['id']} failed{stays}")
        return
    folder = facts["folder"].absolute()
    here = Path.cwd()
    by_command = "what `crawl run` began can be retried"
    asked = Asked.again(facts, settings, otherwise=by_command).go_home(folder)
    notice = f"fetching {plural(failed, 'failed page')} of {facts['id']} again{stays}"
    crawl_and_report(asked, retry=folder, notice=notice, progress=progress, quiet=quiet, here=here)


def _find(run: str, output: Path) -> dict[str, Any]:
    """The run.json of a finished run, with its folder."""
    from crawler.cli.runs import state_of
    from crawler.cli.session import how_to_resume
    from crawler.errors import LockedError, UsageError
    from crawler.run_folder import runs_called

    facts = next(iter(runs_called(run, output)), None)
    if facts is None:
        raise UsageError(f"nothing to retry: there is no run {run} in {output}")
    state = state_of(facts)
    if state == "running":
        raise LockedError(f"{facts['id']} is at work; retry what fails when it is finished")
    if state != "finished":
        again = how_to_resume(facts["folder"].absolute(), Path.cwd(), by_id=True)
        raise UsageError(f"{facts['id']} came to no end; {again}, then what failed can be retried")
    return facts


def _counts(folder: Path) -> tuple[int, int]:
    """How many pages failed, and how many items did in a step."""
    import json
    from contextlib import suppress

    from crawler.again import HAS_FAILED
    from crawler.history import History
    from crawler.journal import JOURNAL

    with History.of(folder / JOURNAL) as history:
        failed = history.number_where(HAS_FAILED)
    items = 0
    with suppress(OSError, ValueError):
        items = int(json.loads((folder / "stats.json").read_bytes()).get("failed_items", 0))
    return failed, items
