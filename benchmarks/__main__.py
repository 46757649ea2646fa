"""`python -m benchmarks`: ours and its peers on the same sites, in turn; prints tables."""

from __future__ import annotations

import argparse
import compileall
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import document, machine, section
from benchmarks.answers import WrongAnswerError
from benchmarks.meter import REPOSITORY
from benchmarks.missing import OWN_PACKAGES, debian_packages, what_is_missing
from benchmarks.programs import PEERS
from benchmarks.rounds import ROUNDS, Bench, packages_missing, say
from benchmarks.workloads import NAMES, seed, workload
from crawler import CrawlError

_FAILURES = (OSError, WrongAnswerError, CrawlError, subprocess.SubprocessError)
"""Of one workload: a server that doesn't start, a crawl of ours that goes wrong."""


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this crawler and its peers on the same sites, in turn.",
        epilog="Nothing is installed; what is missing is said, and that part left out.",
    )
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"{', '.join(NAMES)}; all by default"
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="NAME",
        help="only peers whose name has this in it; none if nothing follows",
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"how often each program runs ({ROUNDS})"
    )
    parser.add_argument(
        "--peers-python",
        default=sys.executable,
        metavar="PATH",
        help="the interpreter that has the peers' packages; this one by default",
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE.md",
        help="put the tables into this document, whose figures are kept in FILE.json",
    )
    parser.add_argument(
        "--rewrite",
        type=Path,
        metavar="FILE.md",
        help="only make this document anew from the figures in FILE.json; measures nothing",
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.workloads) - set(NAMES))
    if unknown:
        parser.error(f"no workload {unknown[0]!r}; there are {', '.join(NAMES)}")
    peers = [peer.name for peer in (*PEERS, *seed.PEERS)]
    for part in options.peers or ():
        if not any(part.lower() in name.lower() for name in peers):
            parser.error(f"no peer has {part!r} in its name; there are: {'; '.join(peers)}")
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return options


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, 1 if a workload was given up, 2 if something is missing or misspelt."""
    options = _parse(arguments)
    if options.rewrite is not None:
        options.rewrite.write_text(
            document.whole(section.load(options.rewrite.with_suffix(".json"))), encoding="utf-8"
        )
        return 0
    names = options.workloads or list(NAMES)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as scratch:
        bench = Bench(
            Path(scratch),
            rounds=options.rounds,
            peers=None if options.peers is None else tuple(options.peers),
            peers_python=options.peers_python,
        )
        for line in what_is_missing(names, bench):
            say(line)
        if packages_missing(bench.python, OWN_PACKAGES):
            return 2
        if "nginx-light" in debian_packages(names):
            names = [name for name in names if not workload(name).NEEDS_NGINX]
            if not names:
                return 2
        compileall.compile_dir(REPOSITORY / "crawler", quiet=1)  # as pip does with the peers
        machine.commit()
        is_whole = True
        for name in names:
            say(f"{name}: {bench.rounds} rounds")
            try:
                found = workload(name).measure(bench)
            except _FAILURES as error:  # the others may do better
                say(f"{name} was given up: {error}")
                is_whole = False
                continue
            found.facts = machine.facts(bench.python, bench.peers_python, bench.rounds)
            print(document.of_section(found, workload(name).__doc__ or ""))
            if options.write is not None:  # at once: the next workload may take an hour
                figures = options.write.with_suffix(".json")
                sections = {**section.load(figures), name: found}
                section.save(sections, figures)
                options.write.write_text(document.whole(sections), encoding="utf-8")
    return 0 if is_whole else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends nginx, too
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
