"""What goes wrong out there, done to real processes: kills, signals, full and read-only disks.

After each fault the same must hold: the output is whole, its bytes are those of an undisturbed
run once the run is resumed, the exit code and the last line tell the truth, nothing is left over.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from command_line import CRAWL, spider_file
from conftest import told
from crawler import demo
from crawler.output import parse_target, publish_items
from deadline import wait_until

MODES = {
    "sequential": ["--mode", "sequential"],
    "threads": ["--mode", "threads", "-j", "3"],
    "processes": ["--mode", "processes", "-j", "2", "--concurrency", "4"],
    "async": ["--mode", "async", "--concurrency", "8"],
}
RESUME = [*CRAWL, "resume", "--max-failures", "1000"]
KILLS = 50

GRAPH = """
@spider()
def graph(response):
    yield {"url": response.url, "title": response.css("title::text").get(), "汉": [1, None]}
    yield from response.follow_all(css="a")
"""


@dataclass(frozen=True)
class Place:
    """A folder with a spider, a site to crawl, and what an undisturbed crawl of it finds."""

    folder: Path
    url: str
    output: bytes
    failed: bytes

    def command(self, *arguments: str) -> list[str]:
        return [*CRAWL, "run", "graph.py", "--urls", self.url, *arguments]


def files(folder: Path) -> tuple[bytes, bytes]:
    """The output, and what failed."""
    # A run that was killed before its folder was complete has no statistics; one that was killed
    # after it was complete, but before it ended, is followed by a new one.
    stats = max(folder.glob("output/runs/graph/2*/stats.json"))
    failed = stats.with_name("failed.jsonl")
    return (folder / "output/graph.json").read_bytes(), failed.read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("undisturbed")
    spider_file(folder / "graph.py", GRAPH)
    with demo.start(port=0, jitter=0.02) as site:
        url = f"{site.url}/graph/7/120/page/1?links=6&redirects=0.2&dead=0.1"
        command = [*CRAWL, "run", "graph.py", "--urls", url, "-j", "16", "--concurrency", "16"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=60)
        assert done.returncode == 3, done.stderr
        output, failed = files(folder)
        assert len(json.loads(output)) > 70
        assert failed.count(b"\n") > 3
        yield Place(folder, url, output, failed)


def requests_seen(url: str) -> int:
    """How many requests the site has had."""
    with urllib.request.urlopen(f"{url.partition('/graph')[0]}/stats") as answer:
        return int(json.load(answer)["requests"])


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def orphans(group: int) -> list[psutil.Process]:
    """Processes of a group that are still there a while after its head was killed."""
    found: list[psutil.Process] = []
    for _ in range(100):
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                is_alive = process.status() != psutil.STATUS_ZOMBIE
                if is_alive and os.getpgid(process.pid) == group:
                    found.append(process)
        if not found:
            break
        time.sleep(0.1)
    return found


def is_left_unfinished(folder: Path) -> bool:
    states = [
        json.loads(file.read_text())["state"] for file in folder.glob("output/runs/*/2*/run.json")
    ]
    return bool(states) and states != ["finished"]


# ---- Kills ----


def kill_and_resume(place: Place, folder: Path, mode: str, seed: int) -> tuple[int, int]:
    """Crawl, killing the whole group at random moments, until it was killed KILLS times.

    How often it was killed, and in how many crawls.
    """
    lots = random.Random(seed)
    kills = crawls = 0
    while kills < KILLS:
        crawls += 1
        here = folder / f"{mode}-{crawls}"
        spider_file(here / "graph.py", GRAPH)
        while True:
            command = place.command("--resume", *MODES[mode])
            process = subprocess.Popen(
                command,
                cwd=here,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                process_group=0,
            )
            with suppress(subprocess.TimeoutExpired):
                process.wait(lots.uniform(0.1, 1.3) if kills < KILLS else 60)
            if process.poll() is not None:
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            published = here / "output/graph.json"
            assert not published.exists() or published.read_bytes() == place.output
        _, said = process.communicate()
        assert process.returncode == 3, said
        assert files(here) == (place.output, place.failed), f"{mode}, seed {seed}"
        journal = max(here.glob("output/runs/graph/2*/journal.sqlite"))
        with sqlite3.connect(journal) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        assert not list(here.glob("output/.*.tmp"))
    return kills, crawls


def test_f1_killed_at_any_moment_and_resumed_nothing_changes(place: Place, tmp_path: Path) -> None:
    """`kill -9` of the whole group; each mode by itself, side by side."""
    seed = random.randrange(10**6)
    with ThreadPoolExecutor() as pool:
        done = {
            mode: pool.submit(kill_and_resume, place, tmp_path, mode, seed + number)
            for number, mode in enumerate(MODES)
        }
        for mode, future in done.items():
            kills, crawls = future.result()
            told.append(f"kill -9, {mode}: {kills} kills in {crawls} crawls (seed {seed})")
            assert kills >= KILLS


def test_f1_a_resumed_crawl_goes_on_at_once(place: Place, tmp_path: Path) -> None:
    """It asks for the next page before it is at an end, which tells how long it took to begin."""
    spider_file(tmp_path / "graph.py", GRAPH)
    process = subprocess.Popen(
        place.command("--delay", "0.01"), cwd=tmp_path, stderr=subprocess.DEVNULL, process_group=0
    )
    wait_until(lambda: [*tmp_path.glob("output/runs/graph/2*/items.jsonl")])
    parts = tmp_path.glob("output/runs/graph/2*/items.jsonl")
    part = next(parts)
    wait_until(lambda: part.stat().st_size > 0)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = requests_seen(place.url)
    began = time.monotonic()
    resumed = subprocess.Popen([*CRAWL, "resume"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_until(lambda: requests_seen(place.url) > before)
    seconds = time.monotonic() - began
    assert resumed.wait(60) == 3
    assert files(tmp_path) == (place.output, place.failed)
    told.append(f"kill -9: the resumed crawl asked for its next page after {seconds:.1f} s")


def test_f1_killed_and_resumed_other_formats_have_the_same_bytes(
    place: Place, tmp_path: Path
) -> None:
    """CSV, whose first line needs all items, and a file that is compressed."""
    spider_file(tmp_path / "graph.py", GRAPH)
    names = [tmp_path / "output/graph.csv", tmp_path / "output/graph.jsonl.gz"]
    outputs = [part for name in names for part in ("-o", str(name))]
    lots = random.Random()
    command = place.command("--resume", *MODES["threads"], *outputs)
    kills = 0
    while True:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(lots.uniform(0.2, 1.3) if kills < 5 else 60)
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
    _, said = process.communicate()
    assert process.returncode == 3, said
    items = [json.dumps(item, ensure_ascii=False).encode() for item in json.loads(place.output)]
    for name in names:
        undisturbed = tmp_path / name.name
        publish_items(lambda: items, parse_target(str(undisturbed)))
        assert name.read_bytes() == undisturbed.read_bytes()


def test_f2_killed_workers_cost_nothing(place: Place, tmp_path: Path) -> None:
    """Worker processes only, again and again, while the crawl goes on.

    A page that was in two of them is taken for what killed them, so the next one is killed when
    those that were in flight are committed.
    """
    spider_file(tmp_path / "graph.py", GRAPH)
    process = subprocess.Popen(
        place.command(*MODES["processes"], "--delay", "0.02"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    kills, kill_at = 0, 1
    crawl = psutil.Process(process.pid)
    while process.poll() is None:
        done = committed(tmp_path)
        if done >= kill_at:
            with suppress(psutil.Error, IndexError):
                workers = [child for server in crawl.children() for child in server.children()]
                workers[0].kill()
                kills, kill_at = kills + 1, done + 30
        time.sleep(0.02)
    _, said = process.communicate()
    told.append(f"kill -9 of worker processes: {kills} in one crawl")
    assert process.returncode == 3, said
    assert kills
    output, failed = files(tmp_path)
    assert output == place.output
    assert [json.loads(line)["url"] for line in failed.splitlines()] == [
        json.loads(line)["url"] for line in place.failed.splitlines()
    ]


# ---- Signals ----


def committed(folder: Path) -> int:
    """How many requests are done at the last checkpoint."""
    count = 0
    for journal in folder.glob("output/runs/*/2*/journal.sqlite"):
        with suppress(sqlite3.Error):
            connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
            query = "SELECT count(*) FROM requests WHERE rank IS NOT NULL"
            count = connection.execute(query).fetchone()[0]
            connection.close()
    return count


def at_work(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until something is committed."""
    while process.poll() is None and not committed(folder):
        time.sleep(0.02)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("signals", ["INT", "TERM", "HUP", "INT INT"])
def test_f3_f4_f5_a_signal_ends_it_so_that_it_can_be_resumed(
    place: Place, tmp_path: Path, mode: str, signals: str
) -> None:
    # Slow enough not to be over before the signal comes.
    spider_file(tmp_path / "graph.py", GRAPH)
    process = subprocess.Popen(
        place.command(*MODES[mode], "--delay", "0.1"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    at_work(process, tmp_path)
    numbers = [getattr(signal, f"SIG{name}") for name in signals.split()]
    for number in numbers:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        time.sleep(0.05 if len(numbers) > 1 else 0)
    _, said = process.communicate(timeout=30)
    # The second one may come when all is over but for the interpreter's own end.
    assert process.returncode in (128 + numbers[0], -numbers[0] if len(numbers) > 1 else None), said
    assert "crawl resume" in said
    assert "Traceback" not in said
    assert not (tmp_path / "output/graph.json").exists()
    assert not orphans(process.pid)
    done = run([*CRAWL, "resume", "graph", "--delay", "0"], tmp_path)
    assert done.returncode == 3, done.stderr
    assert files(tmp_path) == (place.output, place.failed)


@pytest.mark.parametrize(
    "limit", [["--max-seconds", "0.2"], ["--max-bytes", "50k"], ["--max-failures", "3"]]
)
def test_a_limit_ends_it_so_that_it_can_be_resumed(
    place: Place, tmp_path: Path, limit: list[str]
) -> None:
    limit = [text.replace("50k", "50000") for text in limit]
    spider_file(tmp_path / "graph.py", GRAPH)
    done = run(place.command(*limit), tmp_path)
    sessions = 1
    while done.returncode == 6:
        assert "stopped after" in done.stderr
        assert "`crawl resume graph`" in done.stderr
        assert not (tmp_path / "output/graph.json").exists()
        done = run([*CRAWL, "resume"], tmp_path)
        sessions += 1
    assert sessions > 1
    assert done.returncode == 3, done.stderr
    assert files(tmp_path) == (place.output, place.failed)


# ---- Two at once ----


def test_f13_of_ten_started_at_once_one_crawls(place: Place, tmp_path: Path) -> None:
    spider_file(tmp_path / "graph.py", GRAPH)
    processes = [
        subprocess.Popen(place.command("-q"), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    ended = [(process.communicate()[1], process.returncode) for process in processes]
    assert sorted(code for _, code in ended) == [3, *[5] * 9], ended
    assert files(tmp_path) == (place.output, place.failed)


# ---- Disks ----


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system of its own at `folder`."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_f6_f7_a_full_disk_ends_it_and_room_lets_it_go_on(place: Place, tmp_path: Path) -> None:
    spider_file(tmp_path / "graph.py", GRAPH)
    with mounted(tmp_path / "output", "size=120k"):
        done = run(place.command(), tmp_path)
        assert done.returncode == 8, done.stderr
        assert "can't write" in done.stderr
        assert "`crawl resume graph`" in done.stderr
        assert "Traceback" not in done.stderr
        remount(tmp_path / "output", "size=20m")
        done = run([*CRAWL, "resume"], tmp_path)
        assert done.returncode == 3, done.stderr
        assert files(tmp_path) == (place.output, place.failed)


def test_f6_a_full_disk_for_the_output_alone(place: Place, tmp_path: Path) -> None:
    """The crawl is complete and can't be published; resumed, it only publishes."""
    spider_file(tmp_path / "graph.py", GRAPH)
    with mounted(tmp_path / "small", "size=8k"):
        done = run(place.command("-o", "small/graph.json"), tmp_path)
        assert done.returncode == 8, done.stderr
        assert "can't write small/graph.json: No space left" in done.stderr
        assert list((tmp_path / "small").iterdir()) == []
        remount(tmp_path / "small", "size=2m")
        done = run([*CRAWL, "resume"], tmp_path)
        assert done.returncode == 3, done.stderr
        assert (tmp_path / "small/graph.json").read_bytes() == place.output


def test_f8_a_disk_that_is_read_only_from_the_start(place: Place, tmp_path: Path) -> None:
    spider_file(tmp_path / "graph.py", GRAPH)
    before = requests_seen(place.url)
    with mounted(tmp_path / "output", "size=2m,ro"):
        done = run(place.command(), tmp_path)
    assert done.returncode == 2
    assert "can't write" in done.stderr
    assert requests_seen(place.url) == before


# ---- What is damaged is refused, and left as it is ----


@pytest.fixture(scope="module")
def stopped_once(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run was stopped on its way."""
    folder = tmp_path_factory.mktemp("stopped")
    spider_file(folder / "graph.py", GRAPH)
    assert run(place.command("--max-failures", "3"), folder).returncode == 6
    return folder


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """The folder of that run, in a copy."""
    shutil.copytree(stopped_once, tmp_path, dirs_exist_ok=True)
    (folder,) = tmp_path.glob("output/runs/graph/2*/")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".log"}


def refused(stopped: Path) -> str:
    before = contents(stopped)
    done = run([*CRAWL, "resume", str(stopped)], stopped.parents[3])
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert contents(stopped) == before
    return done.stderr


def test_f11_a_part_that_was_cut_off_is_refused(stopped: Path) -> None:
    items = stopped / "items.jsonl"
    items.write_bytes(items.read_bytes()[:-1])
    assert "somebody shortened it" in refused(stopped)


@pytest.mark.parametrize("extra", [1, 7, 200])
def test_f11_a_torn_line_is_cut_off(place: Place, stopped: Path, extra: int) -> None:
    with (stopped / "items.jsonl").open("ab") as items:
        items.write(b'{"url": "http://half/of/a/line' * 7)
        items.truncate(items.tell() - 210 + extra)
    done = run(RESUME, stopped.parents[3])
    assert done.returncode == 3
    assert files(stopped.parents[3]) == (place.output, place.failed)


def test_f12_a_damaged_journal_is_refused(stopped: Path) -> None:
    journal = stopped / "journal.sqlite"
    content = bytearray(journal.read_bytes())
    for at in range(4096, len(content), 512):
        content[at] ^= 0xFF
    journal.write_bytes(content)
    assert "is damaged" in refused(stopped)


def test_f18_a_journal_that_somebody_holds_is_not_touched(stopped: Path) -> None:
    holder = sqlite3.connect(stopped / "journal.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    done = run([*CRAWL, "resume"], stopped.parents[3])
    holder.execute("ROLLBACK")
    holder.close()
    assert done.returncode == 5, done.stderr
    assert "in use by another program" in done.stderr


def test_f32_what_changed_since_is_named(place: Place, stopped: Path) -> None:
    spider_file(stopped.parents[3] / "graph.py", GRAPH + "\n# changed\n")
    done = run([*RESUME, "--delay", "0.001", "--retries", "3"], stopped.parents[3])
    assert done.returncode == 3, done.stderr
    assert "changed since then: the spider's file has changed: " in done.stderr
    assert "changed since then: delay: 0.0 -> 0.001" in done.stderr
    assert "changed since then: retries: 2 -> 3" in done.stderr
    assert files(stopped.parents[3]) == (place.output, place.failed)


def test_a_new_run_mentions_the_one_that_came_to_no_end(place: Place, stopped: Path) -> None:
    folder = stopped.parents[3]
    done = run(place.command(), folder)
    assert f"came to no end; `crawl resume {stopped.name}` goes on" in done.stderr
    assert run([*RESUME, "graph"], folder).returncode == 3, "the older one"
    assert run([*RESUME, "graph"], folder).returncode == 2, "there is none left"


def test_a_resumed_run_can_write_to_stdout(place: Place, tmp_path: Path) -> None:
    """All of it once more: what went into the pipe before is not here."""
    spider_file(tmp_path / "graph.py", GRAPH)
    assert run(place.command("-o", "-", "--max-failures", "3"), tmp_path).returncode == 6
    done = run(RESUME, tmp_path)
    assert done.stdout.encode() == place.output


def test_python_resumes_too(place: Place, stopped: Path) -> None:
    code = f"""
import crawler
if __name__ == "__main__":
    result = crawler.run("graph.py", urls=[{place.url!r}], output="output/graph.json", resume=True)
    print(len(result.items), len(result.failures), result.stats.pages, result.exit_code)
"""
    folder = stopped.parents[3]
    (folder / "again.py").write_text(code)
    done = run([CRAWL[0], "again.py"], folder)
    failures = place.failed.count(b"\n")
    items: list[Any] = json.loads(place.output)
    assert done.stdout == f"{len(items)} {failures} {len(items)} 3\n", done.stderr
    assert files(folder) == (place.output, place.failed)
