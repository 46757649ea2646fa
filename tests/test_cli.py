"""The command line: what it prints where, what it writes, its exit codes, and bad input."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from command_line import CRAWL, crawl, spider_file, start_crawl
from conftest import REPOSITORY
from crawler.demo import PracticeSite

QIUSHIBAIKE = str(REPOSITORY / "spiders" / "qiushibaike.py")
COUNT = "def count(url):\n    return {'url': url}\n"
URLS = "https://x.test/{0..3}/"


@pytest.fixture
def count_file(tmp_cwd: Path) -> str:
    """A bare spider that fetches nothing."""
    return str(spider_file(tmp_cwd / "count.py", COUNT))


def published(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


# The main job


def test_the_main_job_runs_offline_on_the_practice_site(tmp_cwd: Path) -> None:
    done = crawl("run", QIUSHIBAIKE, "--pages", "4", "--mode", "threads")
    assert done.returncode == 0
    assert done.stdout == ""
    notice, counts, where = done.stderr.splitlines()
    assert notice.startswith(
        "qiushibaike.com closed on 2022-12-29; "
        "crawling the bundled practice site at http://127.0.0.1:"
    )
    assert counts.startswith("4 pages, 100 items in ")
    assert where == "-> output/qiushibaike.json"
    content = Path("output/qiushibaike.json").read_text(encoding="utf-8")
    assert "\\u" not in content
    assert len(json.loads(content)) == 100


def test_a_name_is_looked_up_in_the_spiders_folder(tmp_cwd: Path) -> None:
    spider_file(tmp_cwd / "spiders" / "count.py", COUNT)
    done = crawl("run", "count", "--urls", URLS)
    assert done.returncode == 0, done.stderr
    assert len(published("output/count.json")) == 4


@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "async"])
def test_the_articles_function_runs_unchanged(mode: str, tmp_cwd: Path) -> None:
    (tmp_cwd / "mymodule.py").write_text(
        "import time\n\n"
        "def spyder(url):\n"
        "    print(url)\n"
        "    time.sleep(0.01)\n"
        '    return {"entry:" + url: url}\n'
    )
    pattern = "https://www.qiushibaike.com/text/page/{0..3}/"
    done = crawl("run", "mymodule:spyder", "--urls", pattern, "--mode", mode, "-o", "-")
    assert done.returncode == 0, done.stderr
    urls = [f"https://www.qiushibaike.com/text/page/{number}/" for number in range(4)]
    assert json.loads(done.stdout) == [{"entry:" + url: url} for url in urls]
    assert all(url in done.stderr for url in urls), "what a spider prints goes to stderr"


# Where URLs come from and items go


def test_urls_from_a_file_and_from_stdin(count_file: str, tmp_cwd: Path) -> None:
    (tmp_cwd / "urls.txt").write_text("# two of them\nhttp://a.test/\n\nhttp://b.test/\n")
    assert crawl("run", count_file, "--urls", "urls.txt").returncode == 0
    assert [item["url"] for item in published("output/count.json")] == [
        "http://a.test/",
        "http://b.test/",
    ]
    assert crawl("run", count_file, "--urls", "-", stdin="http://c.test/\n").returncode == 0
    assert published("output/count.json") == [{"url": "http://c.test/"}]


def test_several_outputs_at_once(count_file: str) -> None:
    targets = ["-o", "a.json", "-o", "b.jsonl", "-o", "deep/er/c.txt:jsonl"]
    done = crawl("run", count_file, "--urls", URLS, *targets)
    assert done.returncode == 0, done.stderr
    lines = Path("b.jsonl").read_text().splitlines()
    assert list(map(json.loads, lines)) == published("a.json")
    assert Path("deep/er/c.txt").read_bytes() == Path("b.jsonl").read_bytes()
    assert not Path("output/count.json").exists()


def test_names_in_braces_are_those_of_the_run_also_when_it_is_resumed(tmp_cwd: Path) -> None:
    body = "def count(url):\n    if not stop: return {'url': url, 'f': '=1'}\n    1 / 0\n"
    file = spider_file(tmp_cwd / "count.py", f"stop = True\n{body}")
    outputs = ["-o", "{name}-{run}.csv.gz", "-o", "{date}/{time}.xml"]
    done = crawl("run", str(file), "--urls", URLS, "--max-failures", "1", "-j", "1", *outputs)
    assert done.returncode == 6, done.stderr
    (run,) = [path.name for path in tmp_cwd.glob("output/runs/count/2*")]
    spider_file(tmp_cwd / "count.py", f"stop = False\n{body}")
    done = crawl("resume", "--csv-safe", "--max-failures", "9")
    assert done.returncode == 3, done.stderr
    where = [f"count-{run}.csv.gz", f"{run[:4]}-{run[4:6]}-{run[6:8]}/{run[9:15]}.xml"]
    assert done.stderr.splitlines()[-2:] == [f"-> {name}" for name in where]
    first, *rows = gzip.decompress(Path(where[0]).read_bytes()).splitlines()
    assert first == b"url,f"
    assert rows
    assert all(row.endswith(b",'=1") for row in rows)
    assert Path(where[1]).read_bytes().count(b"<item>") == len(rows)


def test_csv_on_stdout_has_a_header_for_all_items(count_file: str) -> None:
    done = crawl("run", count_file, "--urls", URLS, "-o", "-:csv")
    assert done.stdout.splitlines()[:2] == ["url", "https://x.test/0/"]
    assert len(done.stdout.splitlines()) == 5


def test_an_unknown_name_in_braces_is_refused_before_anything_is_fetched(count_file: str) -> None:
    done = crawl("run", count_file, "--urls", URLS, "-o", "{spider}.json")
    assert done.returncode == 2
    assert "{spider} stands for nothing; there are {name}, {date}, {time}, {run}" in done.stderr
    assert not Path("output").exists()


def test_a_folder_may_have_braces(count_file: str) -> None:
    done = crawl("run", count_file, "--urls", URLS, "--output-dir", "a{b}")
    assert done.returncode == 0, done.stderr
    assert len(published("a{b}/count.json")) == 4


def test_jsonl_on_stdout(count_file: str) -> None:
    done = crawl("run", count_file, "--urls", URLS, "-o", "-:jsonl", "-q")
    assert [json.loads(line)["url"][-2] for line in done.stdout.splitlines()] == list("0123")
    assert done.stderr == ""


def test_f5_a_reader_that_has_enough_is_no_error(count_file: str) -> None:
    command = shlex.join(
        [*CRAWL, "run", count_file, "--urls", "http://x.test/{1..200000}", "-o", "-:jsonl"]
    )
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert json.loads(done.stdout)["url"] == "http://x.test/1"
    assert "Traceback" not in done.stderr
    assert done.returncode == 128 + signal.SIGPIPE


def test_f5_a_closed_stdout_is_not_taken_for_another_file(count_file: str) -> None:
    command = shlex.join([*CRAWL, "run", count_file, "--urls", URLS, "-o", "-"])
    done = subprocess.run(
        ["bash", "-c", f"{command} >&-"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "stdout is closed" in done.stderr) == (2, True)
    file_too = subprocess.run(
        ["bash", "-c", f"{command} -o x.json -o y.json >/dev/full 2>&-"], timeout=60, check=False
    )
    assert file_too.returncode == 8
    fine = subprocess.run(
        ["bash", "-c", f"{shlex.join([*CRAWL, 'run', count_file, '--urls', URLS])} <&- >&- 2>&-"],
        timeout=60,
        check=False,
    )
    assert fine.returncode == 0
    assert len(published("output/count.json")) == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", [["runs"], ["why", "https://x.test/1/"], ["list", "."], ["-h"]])
def test_what_a_command_says_can_not_be_written(command: list[str], count_file: str) -> None:
    assert crawl("run", count_file, "--urls", URLS).returncode == 0
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*CRAWL, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    said = "crawl: can't write stdout: No space left on device\n"
    assert (done.returncode, done.stderr) == (8, said)


def test_a_named_pipe_is_written_to(count_file: str, tmp_cwd: Path) -> None:
    os.mkfifo("pipe.json")
    with subprocess.Popen(["cat", "pipe.json"], stdout=subprocess.PIPE) as reader:
        assert crawl("run", count_file, "--urls", URLS, "-o", "pipe.json").returncode == 0
        out, _ = reader.communicate(timeout=30)
    assert len(json.loads(out)) == 4


def test_breakpoint_stops_in_the_spider(tmp_cwd: Path) -> None:
    file = spider_file(
        tmp_cwd / "bp.py", "def bp(url):\n    mine = 6 * 7\n    breakpoint()\n    return {}\n"
    )
    done = crawl(
        "run", str(file), "--urls", "http://x.test/", "--mode", "sequential", stdin="p mine\nc\n"
    )
    assert "42" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("mode", ["threads", "processes", "async"])
def test_what_a_spider_logs_is_told_alike_in_every_mode(mode: str, tmp_cwd: Path) -> None:
    body = (
        "import logging\n"
        "def diary(url):\n"
        "    logging.getLogger('diary').info('about %s', url)\n"
        "    logging.getLogger('diary').debug('in detail')\n"
        "    logging.getLogger('urllib3').warning('no error')\n"
        "    return {}\n"
    )
    file = str(spider_file(tmp_cwd / "diary.py", body))
    done = crawl("run", file, "--urls", "https://x.test/", "--mode", mode, "-v")
    assert "INFO about https://x.test/" in done.stderr.splitlines()
    log = Path("output/runs/diary/latest/run.log").read_text(encoding="utf-8")
    assert "INFO diary: about https://x.test/" in log
    assert "in detail" not in log
    assert "no error" not in log


def test_spider_arguments_follow_the_annotations(tmp_cwd: Path) -> None:
    file = spider_file(
        tmp_cwd / "typed.py",
        "def typed(url, *, n: int, tags: list[str], big: bool = False):\n"
        "    return {'n': n, 'tags': tags, 'big': big}\n",
    )
    run = ["run", str(file), "--urls", "http://x.test/", "-a", "n=3", "-a", "tags=a,b"]
    assert crawl(*run, "-a", "big=yes").returncode == 0
    assert published("output/typed.json") == [{"n": 3, "tags": ["a", "b"], "big": True}]
    wrong = crawl(*run, "-a", "big=perhaps")
    assert (wrong.returncode, wrong.stderr) == (2, "crawl: -a big=perhaps: expected yes or no\n")


# Settings


def test_a_flag_beats_the_environment_beats_the_spider_beats_the_file(tmp_cwd: Path) -> None:
    (tmp_cwd / "crawl.toml").write_text("timeout = 1\nretries = 1\ndelay = 0.01\nworkers = 1\n")
    file = spider_file(
        tmp_cwd / "s.py",
        "@spider(url='http://127.0.0.1:1/', retries=2, delay=0.02, workers=2)\n"
        "def s(response):\n    yield {}\n",
    )
    crawl("run", str(file), "--workers", "4", CRAWL_DELAY="0.03", CRAWL_WORKERS="3")
    (run,) = Path("output/runs/s").glob("2*/run.json")
    settings = published(run)["settings"]
    names = ["timeout", "retries", "delay", "workers"]
    assert [settings[name] for name in names] == [1, 2, 0.03, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pages", "0"], "pages: 0 pages is nothing to do; pages count from 1 (from --pages)"),
        (["--pages", "9-2"], "pages: '9-2' runs backwards; write 2-9 (from --pages)"),
        (["--pages", "abc"], "pages: 'abc' names no pages; write 4"),
        (["--pages", "4", "-j", "0"], "workers: 0 workers is too few; the least is 1"),
        (
            ["--pages", "4", "--mode", "warp"],
            "unknown mode 'warp'; choose sequential, threads, pro",
        ),
        (["--pages", "4", "--timeout", "soon"], "timeout: 'soon' is no number of seconds"),
        (["--pages", "4", "-a", "colour=red"], "-a colour: the spider has no such argument"),
        (["--pages", "4", "-o", "x.xls"], "-o x.xls: .xls tells no format"),
        (["--pages", "4", "-o", "x:yaml"], "unknown format 'yaml'; there are json, jsonl"),
        (["--pages", "4", "-o", "/dev/null/x.json"], "can't write /dev/null/x.json"),
        (["--pages", "4", "--site", "ftp://x"], "--site ftp://x: only http and https"),
        (["--urls", "nosuch.txt"], "--urls nosuch.txt: the file can't be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_before_anything_is_fetched(
    arguments: list[str], message: str, tmp_cwd: Path
) -> None:
    done = crawl("run", QIUSHIBAIKE, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, "one line says it"
    assert not Path("output").exists(), "and nothing is left behind"


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("qiushibake", 2, "did you mean qiushibaike?"),
        ("nosuch", 2, "looked for nosuch.py in "),
        ("nosuch.py", 2, "there is no file nosuch.py"),
        ("nosuch:spider", 2, "there is no module nosuch"),
        ("json:dumpz", 2, "did you mean dump or dumps?"),
        ("json:__name__", 2, "json:__name__ is a str, not a function"),
        ("broken", 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_spider(target: str, code: int, message: str, tmp_cwd: Path) -> None:
    spider_file(tmp_cwd / "spiders" / "qiushibaike.py", COUNT)
    spider_file(tmp_cwd / "spiders" / "broken.py", "1 / 0\n")
    done = crawl("run", target, "--urls", URLS)
    assert done.returncode == code
    assert message in done.stderr


def test_a_spider_without_a_start_says_how_to_give_one(count_file: str) -> None:
    done = crawl("run", count_file)
    assert done.returncode == 2
    assert "give --urls" in done.stderr


# Pages that fail


def test_failed_pages_are_listed_and_the_run_goes_on(site: PracticeSite, tmp_cwd: Path) -> None:
    file = spider_file(
        tmp_cwd / "s.py",
        "def s(response):\n"
        "    if response.url.endswith('raise'):\n"
        "        return {'price': int('cheap')}\n"
        "    if response.url.endswith('set'):\n"
        "        return {'tags': {1, 2}}\n"
        "    if response.url.endswith('text'):\n"
        "        return 'an item'\n"
        "    return {'url': response.url}\n",
    )
    paths = ["headers", "status/404", "headers?raise", "headers?set", "headers?text", "headers?2"]
    urls = "".join(f"{site.url}/{path}\n" for path in paths)
    done = crawl("run", str(file), "--urls", "-", stdin=urls)
    assert done.returncode == 3
    assert "4 of 6 pages failed" in done.stderr
    assert [item["url"] for item in published("output/s.json")] == [
        f"{site.url}/headers",
        f"{site.url}/headers?2",
    ]
    (log,) = Path("output/runs/s").glob("2*/failed.jsonl")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(r["url"], r["kind"], r["attempts"]) for r in records] == [
        (f"{site.url}/status/404", "status", 1),
        (f"{site.url}/headers?raise", "spider", 1),
        (f"{site.url}/headers?set", "item", 1),
        (f"{site.url}/headers?text", "item", 1),
    ]
    assert "ValueError: invalid literal for int()" in records[1]["message"]
    assert "in s\n    return {'price': int('cheap')}" in records[1]["traceback"]
    assert "item['tags'] is a set" in records[2]["message"]
    assert "the spider returned a str" in records[3]["message"]
    assert (
        crawl(
            "run",
            str(file),
            "--max-failed",
            "1",
            "--urls",
            f"{site.url}/status/404",
            "--urls",
            f"{site.url}/headers",
        ).returncode
        == 0
    )


def test_a_long_crawl_tells_where_its_time_went(site: PracticeSite, tmp_cwd: Path) -> None:
    file = spider_file(tmp_cwd / "s.py", "def s(response):\n    return {}\n")
    urls = "".join(f"{site.url}/headers?{number}\n" for number in range(4))
    done = crawl("run", str(file), "--urls", "-", "--delay", "0.7", stdin=urls)
    first, size, time, advice, where = done.stderr.splitlines()
    assert first.startswith("4 pages, 4 items in ")
    assert re.fullmatch(r"[\d.]+ k?B", size)
    assert re.match(r"time: \d\d % delay", time)
    assert advice.endswith(
        " of the time waited for the delay of hosts: more workers would not help"
    )
    assert where == "-> output/s.json"
    (stats,) = (published(path) for path in Path("output/runs/s").glob("2*/stats.json"))
    assert sum(stats["time"].values()) == pytest.approx(1)
    assert stats["time"]["delay"] > 0.5


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("status/404", 3, "1 of 1 page failed; nothing is published"),
        ("status/403", 7, "blocked by the site"),
        ("headers", 4, "1 item, fewer than 2; nothing is published"),
    ],
)
def test_f30_f31_the_old_file_survives_a_crawl_that_went_wrong(
    path: str, code: int, says: str, site: PracticeSite, tmp_cwd: Path
) -> None:
    file = spider_file(tmp_cwd / "s.py", "def s(response):\n    return {}\n")
    (tmp_cwd / "old.json").write_text("[1]")
    url = f"{site.url}/{path}"
    done = crawl("run", str(file), "--urls", url, "-o", "old.json", "--min-items", "2")
    assert done.returncode == code
    assert says in done.stderr
    assert published("old.json") == [1]


def test_another_run_of_the_same_name_is_refused(tmp_cwd: Path) -> None:
    file = spider_file(
        tmp_cwd / "slow.py",
        "import pathlib, time\n"
        "def slow(url):\n"
        "    pathlib.Path('at-work').touch()\n"
        "    while not pathlib.Path('go').exists():\n"
        "        time.sleep(0.01)\n"
        "    return {}\n",
    )
    first = start_crawl("run", str(file), "--urls", "http://x.test/")
    until(Path("at-work").exists)
    second = crawl("run", str(file), "--urls", "http://x.test/")
    assert (second.returncode, "another run of slow is at work" in second.stderr) == (5, True)
    other = start_crawl("run", str(file), "--urls", "http://x.test/", "--name", "other")
    Path("go").touch()
    for process in (first, other):
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert published("output/slow.json") == published("output/other.json") == [{}]


# Being stopped


SLOW = """
import pathlib, time
def slow(url):
    pathlib.Path('at-work').touch()
    time.sleep(0.3)
    return {'url': url}
"""


@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "async"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_finishes_what_is_in_flight(
    number: signal.Signals, mode: str, tmp_cwd: Path
) -> None:
    file = spider_file(tmp_cwd / "slow.py", SLOW)
    Path("output").mkdir()
    Path("output/slow.json").write_text("[1]")
    process = start_crawl(
        "run", str(file), "--urls", "http://x.test/{1..1000}", "--mode", mode, "--concurrency", "4"
    )
    until(Path("at-work").exists)
    os.killpg(process.pid, number)  # the terminal and a service manager signal the whole group
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert published("output/slow.json") == [1], "the old file is still there"
    (run,) = Path("output/runs/slow").glob("2*/run.json")
    assert published(run)["state"] == "stopped"
    items = [json.loads(line) for line in run.with_name("items.jsonl").read_text().splitlines()]
    assert [item["url"] for item in items] == [
        f"http://x.test/{n}" for n in range(1, len(items) + 1)
    ]
    assert items


@pytest.mark.parametrize("mode", ["threads", "processes", "async"])
def test_a_second_signal_ends_at_once(mode: str, tmp_cwd: Path) -> None:
    file = spider_file(tmp_cwd / "slow.py", SLOW.replace("0.3", "60"))
    process = start_crawl("run", str(file), "--urls", "http://x.test/{1..9}", "--mode", mode)
    until(Path("at-work").exists)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr is not None
    while "stopping" not in process.stderr.readline():
        pass
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "resource_tracker" not in said


def test_a_stop_where_nothing_is_in_flight_waits_for_nothing(tmp_cwd: Path) -> None:
    file = spider_file(tmp_cwd / "count.py", COUNT)
    process = start_crawl("run", str(file), "--urls", URLS, "--delay", "60", "--progress", "none")
    journal = Path("output/runs/count/latest/items.jsonl")
    until(lambda: journal.exists() and journal.stat().st_size)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert said.splitlines()[0] == "stopping; Ctrl-C again to end now"
    assert process.returncode == 130


def test_a_second_signal_as_workers_end_still_tells_how_to_go_on(tmp_cwd: Path) -> None:
    """The crawl is over by then; only the closing isn't."""
    Path("closing.py").write_text(
        "import os, signal\n"
        "from crawler.executors.threads import ThreadExecutor\n"
        "class Closing(ThreadExecutor):\n"
        "    def shutdown(self, wait=True, *, cancel_futures=False):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        super().shutdown(wait, cancel_futures=cancel_futures)\n"
    )
    spider_file(
        tmp_cwd / "first.py",
        "import os, signal\n"
        "def first(url):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return {}\n",
    )
    mode = ("--mode", "closing:Closing", "--concurrency", "1")
    done = crawl("run", "first.py", "--urls", "http://x.test/{1..9}", *mode)
    assert done.returncode == 130, done.stderr
    assert "`crawl resume first` goes on from here" in done.stderr
    assert "ended at once" not in done.stderr


def test_what_a_killed_crawl_left_in_memory_is_removed_by_the_next(tmp_cwd: Path) -> None:
    file = spider_file(tmp_cwd / "slow.py", SLOW.replace("0.3", "60"))
    process = start_crawl("run", str(file), "--urls", "http://x.test/", "--mode", "processes")
    until(Path("at-work").exists)
    (run,) = Path("output/runs/slow").glob("2*/run.json")
    block = Path("/dev/shm") / published(run)["progress"]
    if not block.exists():
        pytest.skip("shared memory shows up nowhere here")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert block.exists()
    spider_file(tmp_cwd / "count.py", COUNT)
    assert crawl("run", "count.py", "--urls", "http://x.test/").returncode == 0
    assert not block.exists()
    watched = crawl("watch", "slow")
    id_ = run.parent.name
    said = f"crawl: the run {id_} was interrupted; `crawl resume {id_}` goes on from here\n"
    assert (watched.returncode, watched.stderr) == (2, said)


def test_watch_shows_a_crawl_from_another_process(tmp_cwd: Path) -> None:
    file = spider_file(
        tmp_cwd / "held.py",
        "import pathlib, time\n"
        "def held(url):\n"
        "    pathlib.Path('at-work').touch()\n"
        "    while not pathlib.Path('go').exists():\n"
        "        time.sleep(0.01)\n"
        "    return {}\n",
    )
    nobody = crawl("watch")
    assert (nobody.returncode, "no crawl is at work" in nobody.stderr) == (2, True)
    crawling = start_crawl("run", str(file), "--urls", "http://x.test/{1..3}")
    until(Path("at-work").exists)
    with subprocess.Popen(
        [*CRAWL, "watch", "held", "--interval", "0.05"], stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        seen = [watching.stdout.readline() for _ in range(3)]
        Path("go").touch()
        seen += watching.stdout.readlines()
    assert watching.returncode == 0
    assert seen[0].startswith("0/3 pages")
    assert any("in the spider" in line or "http://x.test/" in line for line in seen)
    assert seen[-1] == "the crawl has finished\n"
    crawling.communicate(timeout=30)
    assert crawling.returncode == 0


# The other commands


def test_list_names_spiders_without_importing_them(tmp_cwd: Path) -> None:
    spider_file(
        tmp_cwd / "spiders" / "loud.py",
        "raise RuntimeError('imported')\n"
        "@spider(url='http://x.test/')\n"
        "def loud(response):\n    '''Shouts.\n\n    A lot.'''\n",
    )
    done = crawl("list")
    assert (done.returncode, done.stdout) == (0, "loud  Shouts.\n")


def test_compare_shows_times_and_that_the_output_is_the_same(tmp_cwd: Path) -> None:
    done = crawl("compare", QIUSHIBAIKE, "--pages", "4", "--latency", "0.2")
    assert done.returncode == 0, done.stderr
    head, *rows, verdict = done.stdout.splitlines()
    assert head.split()[:2] == ["seconds", "speed-up"]
    assert [row.split("  ")[0].strip() for row in rows] == [
        "sequential",
        "2 processes",
        "4 processes",
        "4 threads",
        "event loop, 4 requests",
    ]
    assert len({row.split()[-1] for row in rows}) == 1
    assert verdict == "identical output: yes"


def test_compare_notices_a_difference(tmp_cwd: Path) -> None:
    file = spider_file(
        tmp_cwd / "s.py", "import os\ndef s(url):\n    return {'pid': os.getpid()}\n"
    )
    done = crawl("compare", str(file), "--urls", URLS)
    assert done.returncode == 4
    assert "identical output: no" in done.stdout


def test_help_and_version_are_quick() -> None:
    """They import no third-party package but click."""
    code = "import sys; from crawler.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    heavy = {"requests", "urllib3", "parsel", "lxml", "bs4", "rich", "tenacity"}
    assert "click" in loaded
    assert not loaded & (heavy | {"multiprocessing", "asyncio", "sqlite3"})
    assert crawl("--version").stdout.startswith("crawl-in-order, version ")


def test_a_crawl_imports_what_it_uses(tmp_cwd: Path) -> None:
    """A start is most of the time of a small crawl."""
    body = "import sys\ndef s(url):\n    return {'loaded': sorted(sys.modules)}\n"
    file = spider_file(tmp_cwd / "s.py", body)
    done = crawl("run", str(file), "--urls", "http://x.test/", "-o", "-", "--mode", "threads")
    loaded = set(json.loads(done.stdout)[0]["loaded"])
    assert "crawler.engine" in loaded
    unused = {"aiohttp", "bs4", "lxml.html", "parsel", "selectolax", "PIL", "fsspec", "pyarrow"}
    assert not loaded & (unused | {"multiprocessing", "pdb", "tomllib"})


def until(condition: Any) -> None:
    give_up_at = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up_at, "it never happened"
        time.sleep(0.01)


def test_of_many_failures_the_first_ones_are_told(tmp_cwd: Path) -> None:
    """How many more there will be, nobody knows yet."""
    file = spider_file(tmp_cwd / "bad.py", "def bad(url):\n    return 5\n")
    done = crawl("run", str(file), "--urls", "http://x.test/{1..11}", "--progress", "none")
    told = [line for line in done.stderr.splitlines() if line.startswith("WARNING ")]
    assert len(told) == 11
    assert told[-1] == "WARNING others that fail are listed in failed.jsonl only"


def test_a_name_that_is_refused_leaves_nothing_behind(tmp_cwd: Path) -> None:
    file = spider_file(tmp_cwd / "posts.py", "def posts(url):\n    return {}\n")
    for name in ("a/b", "..", "a" * 254):  # the last one is a folder's, but not a file's with .json
        done = crawl("run", str(file), "--urls", "http://x.test/", "--name", name)
        assert done.returncode == 2, done.stderr
        assert not Path("output").exists()


# Ctrl-C before a crawl is at work


def interrupted_as_it_imports(tmp_path: Path, module: str, *arguments: str) -> str:
    """What a command says that is interrupted in the middle of an import of that module."""
    (tmp_path / f"{module}.py").write_text(
        "import os, signal\n"
        "class Forgotten:\n"
        "    def __del__(self):\n"  # where an exception goes no further
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "Forgotten()\n"
    )
    done = crawl(*arguments, PYTHONPATH=str(tmp_path))
    assert done.returncode == -signal.SIGINT, "a shell tells it as 130"
    return done.stderr


def test_ctrl_c_as_the_program_is_loaded_just_ends_it(tmp_cwd: Path) -> None:
    assert interrupted_as_it_imports(tmp_cwd, "click", "--help") == ""


def test_ctrl_c_as_the_spider_is_loaded_just_ends_it(tmp_cwd: Path) -> None:
    assert interrupted_as_it_imports(tmp_cwd, "mine", "run", "mine:spyder", "--urls", "x") == ""
    assert not Path("output").exists()


SET_UP = """
import os, signal
from pathlib import Path
class Step:
    def open(self, context):
        Path('opened').touch()
        os.kill(os.getpid(), signal.SIGINT)
        {more}
    def __call__(self, item):
        return item
    def close(self):
        Path('closed').touch()
@spider(steps=[Step()])
def early(response: Response):
    return {{}}
"""


def test_ctrl_c_as_a_crawl_is_set_up_stops_it_when_it_is(tmp_cwd: Path) -> None:
    file = spider_file(tmp_cwd / "early.py", SET_UP.format(more=""))
    done = crawl("run", str(file), "--urls", "http://x.test/")
    assert done.returncode == 130, done.stderr
    assert "stopping: waiting for the crawl to be set up; Ctrl-C again" in done.stderr
    assert "`crawl resume early` goes on from here" in done.stderr
    assert Path("closed").exists(), "what was opened is closed"
    (run,) = Path("output/runs/early").glob("2*/run.json")
    assert published(run)["state"] == "stopped"


def test_a_second_ctrl_c_as_a_crawl_is_set_up_ends_it_at_once(tmp_cwd: Path) -> None:
    twice = "os.kill(os.getpid(), signal.SIGINT)"
    file = spider_file(tmp_cwd / "early.py", SET_UP.format(more=twice))
    done = crawl("run", str(file), "--urls", "http://x.test/")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert not Path("closed").exists()
