"""`crawl run`: one crawl."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from crawler.cli.flags import display_options, named, setting_options
from crawler.cli.session import Asked, Progress, crawl_and_report, how_to_resume, outputs_of

_EPILOG = """\b
Examples:
  crawl run posts --pages 4
  crawl run posts --pages until-empty --mode processes -o posts.jsonl
  crawl run mymodule:spyder --urls 'https://example.org/page/{1..4}/'

Ctrl-C once finishes what is in flight, twice ends at once; the old output stays, and `crawl resume`
goes on. Exit codes: 0 done, 2 usage, 3 pages failed, 4 too few items, 5 already running, 6 stopped
at a limit, 7 blocked, 8 output not written, 130 interrupted.
"""


@click.command(short_help="Run a spider.", epilog=_EPILOG)
@click.argument("spider", metavar="SPIDER", callback=named)
@click.option("--pages", metavar="PAGES", help="4, 2-9, 1,3,5 or until-empty.")
@click.option(
    "--urls",
    multiple=True,
    metavar="FILE|-|URL",
    help="Start here: a file of URLs, - for stdin, or a pattern 'https://x/page/{0..3}/'.",
)
@click.option("--site", metavar="URL", help="Another place for the spider's site, e.g. a mirror.")
@click.option(
    "-a", "arguments", multiple=True, metavar="KEY=VALUE", help="A spider argument; repeatable."
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE[:FORMAT]",
    help="Where items go, - for stdout, s3://... elsewhere: json, jsonl, csv, xml, md, sqlite or "
    "parquet, by suffix; compressed with .gz or .zst; {name}, {date}, {time}, {run}. Repeatable. "
    "Default: output/NAME.json.",
)
@click.option(
    "--output-dir",
    metavar="FOLDER",
    callback=named,
    help="For NAME.json and run folders (output).",
)
@click.option(
    "--name",
    metavar="NAME",
    callback=named,
    help="Another name for the run, its folder and its output.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the last run, if it came to no end; its outputs are those of -o, or its own.",
)
@setting_options
@display_options
def run(
    spider: str,
    urls: tuple[str, ...],
    site: str | None,
    arguments: tuple[str, ...],
    outputs: tuple[str, ...],
    output_dir: str | None,
    name: str | None,
    resume: bool,
    progress: Progress,
    verbose: int,
    quiet: int,
    **settings: str | bool | tuple[str, ...] | None,
) -> None:
    """Run a spider: NAME (from spiders/NAME.py), file.py[:function] or package.module:function.

    Items go to output/NAME.json in the order of the pages, whatever the mode. Messages and progress
    go to stderr.
    """
    from crawler.cli.console import log_to_stderr
    from crawler.run import unfinished_run
    from crawler.run_folder import is_unfinished, latest_runs, read_run

    log_to_stderr(verbose, quiet)
    asked = Asked(
        spider=spider,
        urls=urls,
        site=site,
        arguments=arguments,
        outputs=outputs,
        output_dir=output_dir,
        name=name,
        settings={key: value for key, value in settings.items() if value not in (None, ())},
    )
    run_name = asked.run_name()
    earlier = next(iter(latest_runs(asked.folder, run_name)), None)
    notice = None
    if not resume and earlier is not None and is_unfinished(earlier):
        again = how_to_resume(earlier["folder"].absolute(), Path.cwd(), by_id=True)
        notice = f"the run of {earlier['started']} came to no end; {again}"
    folder = unfinished_run(asked.folder, run_name) if resume else None
    if folder is not None and not outputs:
        asked = replace(asked, outputs=outputs_of(read_run(folder)))
    crawl_and_report(asked, resume=folder, notice=notice, progress=progress, quiet=quiet)
