"""`crawl thumbs`: thumbnails of a folder of pictures."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from crawler.cli.flags import place

if TYPE_CHECKING:
    from crawler.thumbnail_rule import ThumbnailRule

_MAX_TOLD = 10
_EPILOG = """\b
Examples:
  crawl thumbs photos thumbnails
  crawl thumbs photos thumbnails --size 320x200 --how crop --format webp --mode processes

Exit codes: 0 done, 2 usage, 3 files that gave no thumbnail, 5 another one writes to OUT, 8 a
thumbnail could not be written, 130 interrupted.
"""


@click.command(short_help="Thumbnails of a folder of pictures.", epilog=_EPILOG)
@click.argument("folder", metavar="DIR", callback=place)
@click.argument("out", metavar="OUT", callback=place)
@click.option("--size", default="75x75", metavar="WxH", help="Pixels (75x75).")
@click.option(
    "--how",
    type=click.Choice(["fit", "crop", "exact"]),
    default="fit",
    help="fit: whole, within the size (default); crop: cut to it; exact: stretched to it.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["jpeg", "png", "webp"]),
    help="Of all thumbnails; default: the picture's own, else png.",
)
@click.option(
    "--mode",
    type=click.Choice(["threads", "processes", "sequential"]),
    default="threads",
    help="Where they are made (threads).",
)
@click.option("-j", "--workers", type=click.IntRange(1), help="Default: one a core.")
@click.option(
    "--max-failed",
    type=click.IntRange(0),
    default=0,
    help="Exit with 3 if more files give no thumbnail (0).",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress; only what went wrong.")
def thumbs(
    folder: Path,
    out: Path,
    size: str,
    how: str,
    format_name: str | None,
    mode: str,
    workers: int | None,
    max_failed: int,
    quiet: bool,
) -> None:
    """Write a thumbnail of each picture in DIR, and the folders in it, to OUT.

    What a file holds is judged by its content. A file that is no picture, damaged or too large is
    reported, and the others go on; OUT/thumbnails.jsonl lists all. Nothing in OUT is overwritten
    but thumbnails of the same pictures.
    """
    from crawler.cli.console import say
    from crawler.picture_folder import thumbnail_folder
    from crawler.thumbnail_list import LIST
    from crawler.wording import duration, plural

    rule = _rule(size, how, format_name)
    _end_as_by_ctrl_c()
    began = time.monotonic()
    made = failed = 0
    try:
        for each in thumbnail_folder(
            folder, out, rule, mode=mode, workers=workers, progress=not quiet
        ):
            if each.problem is None:
                made += 1
                continue
            failed += 1
            if failed <= _MAX_TOLD:
                say(f"{each.source}: {each.problem}")
            elif failed == _MAX_TOLD + 1:
                say(f"others that give none are listed in {out / LIST} only")
    except KeyboardInterrupt as error:
        say(f"interrupted; {plural(made, 'thumbnail')} in {out} so far")
        sys.exit(128 + (error.args[0] if error.args else signal.SIGINT))
    if not quiet:
        no = f", {plural(failed, 'file')} gave none" if failed else ""
        say(f"{plural(made, 'thumbnail')}{no} in {duration(time.monotonic() - began)}")
        say(f"-> {out} (list: {out / LIST})")
    sys.exit(3 if failed > max_failed else 0)


def _rule(size: str, how: str, format_name: str | None) -> ThumbnailRule:
    from crawler.errors import UsageError
    from crawler.thumbnail_rule import ThumbnailRule, parse_size

    try:
        return ThumbnailRule(parse_size(size), how, format_name)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None


def _end_as_by_ctrl_c() -> None:
    """SIGTERM and SIGHUP also give back the terminal, and end the workers."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks for
            signal.signal(number, interrupt)
