"""What has to be installed first, and how. Nothing is ever installed by the benchmarks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from benchmarks import nginx
from benchmarks.rounds import Bench, packages_missing
from benchmarks.workloads import needs, workload
from benchmarks.workloads.docs import SITES

OWN_PACKAGES = ("psutil",)
"""Of the benchmarks themselves."""
EXTRA_PACKAGES = ("aiohttp", "uvloop", "selectolax")
"""Of our extras `async` and `fast`."""
PEER_PACKAGES = ("scrapy", "crawlee", "aiohttp", "bs4", "lxml", "requests", "uvloop")


def debian_packages(names: Sequence[str]) -> list[str]:
    """Those that the workloads of these names would use and that are not here."""
    wanted: list[str] = []
    if any(workload(name).NEEDS_NGINX for name in names):
        wanted += ["nginx-light"] if nginx.missing() else []
    if "docs" in names:
        wanted += [tool for tool in ("wget2", "wrk") if shutil.which(tool) is None]
    return wanted + [site for site in needs("NEEDS_SITES", names) if not SITES[site].exists()]


def what_is_missing(names: Sequence[str], bench: Bench) -> list[str]:
    """Lines to print: what is missing, then the command that installs it."""
    lines = []
    debian = debian_packages(names)
    if debian:
        lines += [f"missing: {', '.join(debian)}", f"  apt-get install {' '.join(debian)}"]
    formats = tuple(needs("NEEDS_PACKAGES", names))
    for what, installs in (
        (OWN_PACKAGES, "psutil"),
        (EXTRA_PACKAGES, "-e '.[async,fast]'"),
        (formats, "-e '.[parquet,zstd]'"),
    ):
        packages = what and packages_missing(bench.python, what)
        if packages:
            lines += [
                f"missing for ours, in {bench.python}: {', '.join(packages)}",
                f"  {bench.python} -m pip install {installs}",
            ]
    packages = packages_missing(bench.peers_python, PEER_PACKAGES)
    if packages and bench.peers != ():
        lines += [
            f"missing for the peers, in {bench.peers_python}: {', '.join(packages)}",
            f"  {bench.peers_python} -m pip install -r benchmarks/peers.txt",
        ]
    return lines
