"""Disks that answer with errors, and power cuts: nothing is lost, and nobody is told otherwise.

Errors are put into system calls by strace. A power cut is a copy of a disk image of which a file
system is mounted: what was written but not brought to the disk is not in it.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import psutil
import pytest

from command_line import CRAWL, spider_file
from conftest import told
from crawler import demo

GRAPH = """
@spider()
def graph(response):
    yield {"url": response.url, "title": response.css("title::text").get(), "汉": [1, None]}
    yield from response.follow_all(css="a")
"""


@dataclass(frozen=True)
class Place:
    """A site, how to crawl it, and what an undisturbed crawl finds."""

    command: list[str]
    output: bytes


def undisturbed(folder: Path, url: str) -> Place:
    spider_file(folder / "graph.py", GRAPH)
    command = [*CRAWL, "run", "graph.py", "--urls", url, "--resume", "--concurrency", "16"]
    done = run(command, folder)
    assert done.returncode == 0, done.stderr
    return Place(command, (folder / "output/graph.json").read_bytes())


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def is_sound(journal: Path) -> bool:
    connection = sqlite3.connect(journal)
    answer = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return bool(answer == ("ok",))


# ---- Errors ----

# What brings things to the disk: SQLite's calls (the first ones only make the file), and those of
# everything else. With the number of calls the gaps between those that are tried grow.
CALLS = [
    ("fdatasync", "EIO", 11),
    ("pwrite64", "ENOSPC", 30),
    ("fsync", "EIO", 0),
    ("write", "ENOSPC", 0),
    ("write", "EIO", 0),
    ("rename", "EIO", 0),
    ("write,pwrite64,rename,mkdir", "EROFS", 0),
]
GAPS = [1, 1, 1, 2, 3, 5, 8, 13, 21, 34]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with demo.start(port=0) as site:
        folder = tmp_path_factory.mktemp("undisturbed")
        yield undisturbed(folder, f"{site.url}/graph/7/12/page/1?links=3")


@pytest.fixture(scope="module")
def strace() -> list[str]:
    """A command that lets system calls fail."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = ["strace", "-f", "--seccomp-bpf", "-qq"]
    done = run([*command, "-o", os.devnull, "-e", "trace=fsync", "true"], Path())
    if done.returncode:
        pytest.skip(f"strace can't be used here: {done.stderr.strip()}")
    return command


def fail(folder: Path, strace: list[str], calls: str, fault: str, place: Place) -> int | None:
    """Crawl while a call fails, then without; the exit code, or None if no call failed."""
    spider_file(folder / "graph.py", GRAPH)
    log = folder / "strace.log"
    inject = ["-o", str(log), "-e", f"trace={calls}", "-e", f"inject={calls}:error={fault}"]
    done = run([*strace, *inject, *place.command], folder, PYTHONDONTWRITEBYTECODE="1")
    tried = f"{calls}:{fault} in {folder}: {done.stderr}"
    output = folder / "output/graph.json"
    assert done.returncode in (0, 2, 8), tried
    assert "Traceback" not in done.stderr, tried
    assert output.exists() or done.returncode, tried
    assert not output.exists() or output.read_bytes() == place.output, tried
    if "(INJECTED)" not in log.read_text():
        assert done.returncode == 0, tried
        return None
    again = run(place.command, folder)
    assert again.returncode == 0, tried + again.stderr
    assert output.read_bytes() == place.output, tried
    assert all(map(is_sound, output.parent.glob("runs/*/2*/journal.sqlite"))), tried
    assert not list(output.parent.rglob("*.tmp")), tried
    return done.returncode


@pytest.mark.parametrize(("calls", "error", "after"), CALLS)
def test_f9_a_disk_that_answers_with_errors_never_makes_a_success_of_a_loss(
    place: Place, strace: list[str], tmp_path: Path, calls: str, error: str, after: int
) -> None:
    """The N-th call fails, once or from then on, for some N until there is no such call."""
    seed = random.randrange(10**6)
    lots = random.Random(seed)
    faults = [f"{error}:when={after + n}{lots.choice(['', '+'])}" for n in accumulate(GAPS)]

    def fail_at(fault: str) -> int | None:
        return fail(tmp_path / fault, strace, calls, fault, place)

    codes: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        for pair in zip(faults[::2], faults[1::2], strict=True):
            found = list(pool.map(fail_at, pair))
            codes += [code for code in found if code is not None]
            if None in found:
                break
    assert None in found, "there are more calls than were tried"
    assert len(codes) > 3
    counted = ", ".join(f"{count} x {code}" for code, count in sorted(Counter(codes).items()))
    told.append(f"{error} from {calls}: exit codes {counted} (seed {seed})")


def test_f9_what_broke_first_is_told(place: Place, strace: list[str], tmp_path: Path) -> None:
    """Not that the statistics can't be written to the same disk either.

    Before the output, run.json is renamed twice, and the link to the latest run.
    """
    spider_file(tmp_path / "graph.py", GRAPH)
    inject = ["-o", os.devnull, "-e", "trace=rename", "-e", "inject=rename:error=EIO:when=4+"]
    done = run([*strace, *inject, *place.command], tmp_path)
    assert done.returncode == 8
    assert "crawl: can't write output/graph.json: Input/output error\n" in done.stderr
    assert "stats.json" not in done.stderr
    assert "`crawl resume graph` goes on from here" in done.stderr


# ---- Power cuts ----

SNAPSHOTS = 6


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[None]:
    """The file system of an image at `folder`."""
    # Nothing may come to the disk unless it is asked for, so that a copy isn't made meanwhile.
    command = ["mount", "-o", "loop,commit=300", str(image), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk image can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def disk(image: Path, folder: Path) -> Iterator[None]:
    """An empty disk at `folder`."""
    for needed in ("mkfs.ext4", "mount"):
        if shutil.which(needed) is None:
            pytest.skip(f"there is no {needed} here")
    with image.open("wb") as file:
        file.truncate(24 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    folder.mkdir()
    with mounted(image, folder):
        yield


def committed(folder: Path) -> int:
    """Pages of which the journal on the disk says that they are done."""
    for journal in folder.glob("runs/graph/2*/journal.sqlite"):
        connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
        try:
            query = "SELECT count(*) FROM requests WHERE rank IS NOT NULL"
            count: int = connection.execute(query).fetchone()[0]
        except sqlite3.OperationalError:  # it is being made
            count = 0
        finally:
            connection.close()
        return count
    return 0


def stop(process: psutil.Process) -> None:
    """Until it has stopped: what it is having written is then on the disk."""
    process.send_signal(signal.SIGSTOP)
    while process.status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)
    while any(
        "(running)" in state or "(disk sleep)" in state
        for state in map(thread_state, Path(f"/proc/{process.pid}/task").iterdir())
    ):
        time.sleep(0.001)


def thread_state(task: Path) -> str:
    found = re.search(r"^State:.*", (task / "status").read_text(), re.MULTILINE)
    return found[0] if found else ""


def snapshots(command: list[str], folder: Path, image: Path, seed: int) -> list[tuple[Path, int]]:
    """Copies of the disk at random moments of a crawl, each with the pages that were done then."""
    lots = random.Random(seed)
    copies: list[tuple[Path, int]] = []
    process = psutil.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    while len(copies) < SNAPSHOTS:
        time.sleep(lots.uniform(0.1, 0.5))
        while copies and process.poll() is None and not committed(folder / "output"):
            time.sleep(0.05)  # one is made before, and that is enough
        if process.poll() is not None:
            break
        stop(process)
        done = committed(folder / "output")
        copy = image.with_name(f"copy-{len(copies)}.img")
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        copies.append((copy, done))
        process.send_signal(signal.SIGCONT)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return copies


def test_f10_after_a_power_cut_what_was_committed_is_there(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    image = tmp_path / "disk.img"
    with demo.start(port=0, latency=0.05) as site:
        (tmp_path / "undisturbed").mkdir()
        url = f"{site.url}/graph/7/160/page/1?links=4"
        place = undisturbed(tmp_path / "undisturbed", url)
        spider_file(tmp_path / "graph.py", GRAPH)
        output = tmp_path / "output/graph.json"
        with disk(image, tmp_path / "output"):
            slowly = [*place.command, "--concurrency", "3"]
            copies = snapshots(slowly, tmp_path, image, seed)
            assert output.read_bytes() == place.output
        for copy, done in copies:
            with mounted(copy, tmp_path / "output"):
                again = run(place.command, tmp_path)
                assert again.returncode == 0, f"seed {seed}: {again.stderr}"
                assert output.read_bytes() == place.output, f"seed {seed}"
                found = re.search(r"resuming .*: (\d+) page", again.stderr)
                kept = int(found[1]) if found else 0
                assert kept >= done, f"seed {seed}: {again.stderr}"
                assert all(map(is_sound, tmp_path.glob("output/runs/*/2*/journal.sqlite")))
    assert len(copies) > 3
    pages = len(json.loads(place.output))
    told.append(
        f"power cuts in a crawl of {pages} pages: {', '.join(str(n) for _, n in copies)} "
        f"were committed and are there (seed {seed})"
    )
