"""On what was it measured? The machine, and the versions of all that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from benchmarks.meter import REPOSITORY

OURS = (
    *("crawl-in-order", "requests", "urllib3", "lxml", "parsel", "beautifulsoup4"),
    *("aiohttp", "uvloop", "selectolax", "pyarrow", "zstandard"),
)
PEERS = (
    *("scrapy", "twisted", "crawlee", "impit", "parsel", "aiohttp", "uvloop"),
    *("lxml", "requests", "beautifulsoup4"),
)
TOOLS = {"nginx": ["-v"], "wget2": ["--version"], "wrk": ["-v"]}


def facts(python: str, peers_python: str, rounds: int) -> dict[str, str]:
    """What stands under a table."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": _machine(),
        "load": f"the load at its end was {os.getloadavg()[0]:.1f}; {_speed()}",
        "rounds": str(rounds),
        "ours": ", ".join(filter(None, [commit(), versions(python, OURS)])),
        "peers": versions(peers_python, PEERS),
        "tools": ", ".join(filter(None, (_tool(name, TOOLS[name]) for name in TOOLS))),
    }


def versions(python: str, packages: tuple[str, ...]) -> str:
    """`Python 3.11.7, lxml 6.1.3 ...`: those packages that an interpreter has."""
    script = (
        "import sys, platform; from importlib.metadata import version, PackageNotFoundError\n"
        "print('Python', platform.python_version())\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(name, version(name))\n"
        "    except PackageNotFoundError: pass\n"
    )
    try:
        done = subprocess.run(
            [python, "-c", script, *packages], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return ", ".join(done.stdout.splitlines())


def _machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.M)
        cpu = found[1] if found else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = os.cpu_count() or 1
    return f"{cpu}, {cores} cores, {memory:.0f} GiB, {sys.platform} {platform.release()}"


def _speed() -> str:
    """How fast Python is here: what microseconds of CPU are to be compared with."""
    began, total = time.process_time(), 0
    for number in range(10_000_000):
        total += number
    return f"ten million additions took Python {time.process_time() - began:.2f} CPU seconds"


@cache
def commit() -> str:
    """What is measured. Ask before the first document is written: that changes the tree."""
    git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"commit {done.stdout.strip()}"


def _tool(name: str, options: list[str]) -> str:
    try:
        done = subprocess.run([name, *options], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return f"{name} {found[0]}" if found else name
