"""`crawl watch`: a running crawl, seen from another terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from crawler.cli.flags import named, place


@click.command(short_help="Show a running crawl live.")
@click.argument("run", required=False, callback=named)
@click.option(
    "--output-dir", callback=place, default="output", help="Where its run folder is (output)."
)
@click.option("--interval", type=click.FloatRange(0.05), default=0.5, help="Seconds (0.5).")
def watch(run: str | None, output_dir: Path, interval: float) -> None:
    """Show a running crawl live, worker by worker, without disturbing it.

    RUN is the spider's name or the id of the run; by default the run that began last.
    """
    from crawler.cli.onlooker import watch as show

    sys.exit(show(_block_of(run, output_dir), stream=sys.stdout, interval=interval))


def _block_of(run: str | None, output: Path) -> str:
    """The name of the block of the newest run that is at work and fits."""
    from crawler.errors import UsageError
    from crawler.progress import running
    from crawler.run_folder import latest_runs

    at_work: list[dict[str, Any]] = [
        facts
        for facts in latest_runs(output)
        if facts.get("state") == "running" and run in (None, facts["name"], facts["id"])
    ]
    elsewhere = running()
    alive = [facts for facts in at_work if facts.get("progress") in elsewhere]
    if alive:
        return str(alive[0]["progress"])
    if at_work:
        return _left_by(at_work[0])
    if run in elsewhere:
        return str(run)
    hint = f"; elsewhere on this machine: {', '.join(elsewhere)}" if elsewhere else ""
    what = f"no run {run!r} is at work" if run else "no crawl is at work"
    raise UsageError(f"{what} in {output.absolute()}{hint}")


def _left_by(facts: dict[str, Any]) -> str:
    """The name of a run's block, if it is there still: where blocks can't be listed, it may live.

    A run that was killed couldn't say so. Raises UsageError with how to go on.
    """
    from crawler.cli.session import how_to_resume
    from crawler.errors import UsageError
    from crawler.progress import Block

    name = str(facts.get("progress"))
    try:
        with Block.attach(name):
            return name
    except UsageError:
        again = how_to_resume(facts["folder"].absolute(), Path.cwd(), by_id=True)
        raise UsageError(f"the run {facts['id']} was interrupted; {again}") from None
