"""A network of its own for a test, where links go down and packets get lost. Linux, as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


class Network:
    """A network namespace (and one of mounts) that has nothing but a loopback device."""

    def __init__(self, holder: int) -> None:
        self._enter = ["nsenter", "--target", str(holder), "--net", "--mount", "--"]

    def run(self, command: str) -> None:
        """A command in there, such as `ip link set lo down`; skips the test if it can't be done."""
        done = subprocess.run(
            [*self._enter, *command.split(" ")], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"`{command}` doesn't work here: {done.stderr.strip()}")

    def nft(self, *rules: str) -> None:
        """Lets what arrives go by these rules."""
        self.run("nft add table inet test")
        self.run("nft add chain inet test arriving { type filter hook input priority 0 ; }")
        for rule in rules:
            self.run(f"nft add rule inet test arriving {rule}")

    def start(self, *command: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """A program in there, whose stdin is a pipe."""
        path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
        return subprocess.Popen(
            # A namespace of mounts is entered at its root.
            [*self._enter, "env", "--chdir", str(cwd or REPOSITORY), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    @contextmanager
    def site(self, *options: str, host: str = "0.0.0.0") -> Iterator[int]:
        """The practice site, at all addresses: its port."""
        arguments = ["--attached", "--port", "0", "--host", host, *options]
        process = self.start(sys.executable, "-m", "crawler.demo", *arguments)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, process.communicate()
            yield int(url.rpartition(":")[2])
        finally:
            process.kill()
            process.communicate()


def need(*tools: str) -> None:
    """Skip the test unless it may do what it wants to, and has what it takes."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("namespaces and mounts take root on Linux")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@contextmanager
def network() -> Iterator[Network]:
    """A fresh one; skips the test where there can be none."""
    need("unshare", "nsenter", "ip")
    command = ["unshare", "--net", "--mount", "sh", "-c", "ip link set lo up && echo up && cat"]
    holder = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    try:
        if not holder.stdout.readline():
            pytest.skip(f"no network of one's own here: {holder.communicate()[1].strip()}")
        yield Network(holder.pid)
    finally:
        holder.kill()
        holder.communicate()
