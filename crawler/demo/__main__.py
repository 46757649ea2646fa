"""`python -m crawler.demo`: the practice site in the foreground, or as another program's child."""

from __future__ import annotations

import argparse
import sys

from crawler.demo.server import PREFERRED_PORT, serve
from crawler.demo.weather import Climate


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m crawler.demo",
        description="A web site on loopback to practise crawling on. Its index page lists it all.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, help=f"0: any free one (default: {PREFERRED_PORT}, else any free one)")
    add("--latency", type=float, default=0.0, help="seconds that every page is late")
    add("--jitter", type=float, default=0.0, help="further seconds, random up to this")
    add("--latency-sigma", type=float, default=0.0, help="log-normal spread of the latency")
    add("--fail", type=float, default=0.0, help="share of requests that fail when first asked")
    add("--seed", type=int, default=0, help="other texts, other weather")
    add("--attached", action="store_true", help="print only the URL; stop when stdin ends")
    return parser


def main() -> int:
    """Serve as the command line says; returns the exit code."""
    parser = _parser()
    given = parser.parse_args()
    try:
        climate = Climate(
            latency=given.latency,
            jitter=given.jitter,
            latency_sigma=given.latency_sigma,
            fail=given.fail,
            seed=given.seed,
        )
    except ValueError as error:
        parser.error(str(error))
    try:
        serve(given.port, host=given.host, climate=climate, attached=given.attached)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
