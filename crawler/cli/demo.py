"""`crawl demo`: the practice site by hand."""

from __future__ import annotations

from typing import Any

import click


@click.command(short_help="Serve the bundled practice site.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Default 8642; 0 for any free one.")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--latency", type=click.FloatRange(0), default=0.0, help="Seconds before a page.")
@click.option("--jitter", type=click.FloatRange(0), default=0.0, help="Random seconds on top.")
@click.option("--latency-sigma", type=click.FloatRange(0), default=0.0, help="Log-normal spread.")
@click.option("--fail", type=click.FloatRange(0, 1), default=0.0, help="Share of failing requests.")
@click.option("--seed", type=int, default=0, help="Another seed, other texts and times.")
def demo(port: int | None, host: str, **weather: Any) -> None:
    """Serve the bundled practice site until Ctrl-C; its index page says what it offers."""
    from crawler.demo.server import serve
    from crawler.demo.weather import Climate
    from crawler.errors import UsageError

    try:
        serve(port, host=host, climate=Climate(**weather))
    except OSError as error:
        raise UsageError(str(error)) from None
