"""`crawl list`: the spiders of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from crawler.cli.flags import place


@click.command("list", short_help="List the spiders of a folder.")
@click.argument("folder", default="spiders", callback=place)
def list_command(folder: Path) -> None:
    """List the spiders in FOLDER (spiders/) with what they say of themselves."""
    from crawler.errors import UsageError
    from crawler.escape import printable
    from crawler.loader import list_spiders

    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; spiders are looked for in spiders/")
    found = list(list_spiders(folder))
    width = max((len(spider.name) for spider in found), default=0)
    for spider in found:
        click.echo(f"{spider.name:{width}}  {printable(spider.summary)}".rstrip())
    if not found:
        click.echo(f"no spiders in {folder}", file=sys.stderr)
