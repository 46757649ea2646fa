"""The benchmarks' own promises: all CPU is counted, and a wrong answer gets no figure."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError

import psutil
import pytest

from benchmarks import __main__ as front_door
from benchmarks import document, goals, machine, nginx, programs, section, sites
from benchmarks.answers import WrongAnswerError, check, check_urls, mark, pages_in, pages_of
from benchmarks.meter import Cost, measure
from benchmarks.missing import debian_packages, what_is_missing
from benchmarks.programs import Program
from benchmarks.rounds import HERE, Bench, Runs
from benchmarks.table import number, of_runs, spread
from benchmarks.workloads import NAMES, frontier, parts, workload
from benchmarks.workloads.docs import SITES
from benchmarks.workloads.growth import slope_and_steps
from conftest import REPOSITORY
from crawler import demo
from deadline import wait_until

START = "http://127.0.0.1:1/index.html"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Three pages, a picture, a broken link."""
    folder = tmp_path / "site"
    (folder / "sub").mkdir(parents=True)
    (folder / "index.html").write_text(
        "<meta charset=utf-8><title> The\n index</title>"
        "<a href='a.html#x'></a><a href='a.html'></a><a href='x.png'></a>"
        "<a href='gone.html'></a><a href='mailto:me'></a>"
        "<a href='https://elsewhere.test/é'></a>"
    )
    (folder / "a.html").write_text("<title>A</title><a href='/sub/b.html'></a><a href=''></a>")
    (folder / "sub/b.html").write_text("<p>no title</p><a href='../a.html'></a>")
    (folder / "x.png").write_bytes(b"")
    return folder


def answer(site: Path) -> dict[str, dict[str, object]]:
    """What a program should write of it."""
    root = START.removesuffix("index.html")
    links = ["a.html", "x.png", "gone.html"]
    return {
        "index": {
            "url": START,
            "title": "The index",
            "links": [*(root + link for link in links), "https://elsewhere.test/%C3%A9"],
        },
        "a": {
            "url": root + "a.html",
            "title": "A",
            "links": [root + "sub/b.html", root + "a.html"],
        },
        "b": {"url": root + "sub/b.html", "title": None, "links": [root + "a.html"]},
    }


def written(path: Path, pages: dict[str, dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(page) + "\n" for page in pages.values()))
    return path


def test_the_right_answer_is_read_from_the_sites_files(site: Path, tmp_path: Path) -> None:
    expected = pages_in(site, [START])
    assert len(expected) == 3
    check(pages_of(written(tmp_path / "answer.jsonl", answer(site))), expected)


def test_an_answer_without_a_page_is_wrong(site: Path, tmp_path: Path) -> None:
    pages = answer(site)
    del pages["b"]
    with pytest.raises(WrongAnswerError, match=r"1 of 3 pages are missing, as .*/sub/b\.html"):
        check(pages_of(written(tmp_path / "x.jsonl", pages)), pages_in(site, [START]))


def test_an_answer_with_another_title_or_a_link_less_is_wrong(site: Path, tmp_path: Path) -> None:
    for field, value in (("title", "B"), ("links", [])):
        pages = answer(site)
        pages["a"][field] = value
        with pytest.raises(WrongAnswerError, match=r"1 of 3 pages are wrong, as of .*/a\.html"):
            check(pages_of(written(tmp_path / "x.jsonl", pages)), pages_in(site, [START]))


def test_what_is_no_answer_says_what_is_wrong_with_it(site: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongAnswerError, match="wrote no answer"):
        pages_of(tmp_path / "nothing.jsonl")
    twice = {"1": answer(site)["a"], "2": answer(site)["a"]}
    with pytest.raises(WrongAnswerError, match=r"a\.html stands there twice"):
        pages_of(written(tmp_path / "x.jsonl", twice))
    with pytest.raises(WrongAnswerError, match="line 1: no page"):
        pages_of(written(tmp_path / "x.jsonl", {"1": {"url": START}}))
    with pytest.raises(WrongAnswerError, match="1 of 3 pages are too many"):
        check_urls({*pages_in(site, [START]), START + "x"}, pages_in(site, [START]))


BURN = "import time\nbegan = time.process_time()\nwhile time.process_time() < began + 0.5: pass\n"
IN_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"
WHEN_LEFT = f"import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass\n{BURN}"
LEFT_BEHIND = (
    "import os, subprocess, sys; "
    f"subprocess.Popen([sys.executable, '-c', {WHEN_LEFT!r}, str(os.getpid())])"
)


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_CHILD_SUBREAPER")
@pytest.mark.parametrize("script", [IN_A_CHILD, LEFT_BEHIND], ids=["in a child", "left behind"])
def test_the_cpu_of_all_that_a_command_starts_is_counted(script: str, tmp_path: Path) -> None:
    began = perf_counter()
    cost = measure([sys.executable, "-c", script], cwd=tmp_path, said=tmp_path / "said.txt")
    after_its_end = perf_counter() - began - cost.wall
    assert cost.code == 0, (tmp_path / "said.txt").read_text()
    assert 0.5 <= cost.cpu < 2
    assert (after_its_end >= 0.5) or script == IN_A_CHILD


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_CHILD_SUBREAPER")
def test_the_memory_of_all_processes_is_added_up(tmp_path: Path) -> None:
    hold = "held = b'x' * 100_000_000; import time; time.sleep(1.5)"
    script = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {hold!r}])\n{hold}"
    cost = measure([sys.executable, "-c", script], cwd=tmp_path, said=tmp_path / "said.txt")
    assert 200e6 < cost.memory < 300e6


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_CHILD_SUBREAPER")
def test_a_command_that_takes_too_long_or_fails_is_told(tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert measure(sleeper, cwd=tmp_path, said=said, seconds=0.3).code == -9
    failing = [sys.executable, "-c", "import sys; print('no'); sys.exit(7)"]
    assert measure(failing, cwd=tmp_path, said=said).code == 7
    assert said.read_text() == "no\n"
    with pytest.raises(OSError, match="no such command"):
        measure(["/no such command"], cwd=tmp_path, said=said)


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_command_ends_with_whoever_measures_it(tmp_path: Path, number: signal.Signals) -> None:
    sleeper = f"open({str(tmp_path / 'began')!r}, 'w'); import time; time.sleep(60)"
    script = (
        "import signal, sys; from pathlib import Path; from benchmarks.meter import measure\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
        f"measure([sys.executable, '-c', {sleeper!r}], cwd=Path(), said=Path('said.txt'))"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: (tmp_path / "began").exists())
    started = psutil.Process(asking.pid).children(recursive=True)
    assert len(started) == 2
    asking.send_signal(number)
    asking.wait()
    assert not psutil.wait_procs(started, timeout=20)[1]


def program(name: str, pages: dict[str, dict[str, object]]) -> Program:
    """One that knows the answer."""
    text = "".join(json.dumps(page) + "\n" for page in pages.values())
    script = f"import sys; open(sys.argv[1], 'w').write({text!r})"
    return Program(name, ("{python}", "-c", script.replace("{", "{{").replace("}", "}}"), "{out}"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_CHILD_SUBREAPER")
def test_a_program_that_misses_a_page_gets_no_figure(site: Path, tmp_path: Path) -> None:
    pages = answer(site)
    right = program("right", pages)
    wrong = program("wrong", {name: page for name, page in pages.items() if name != "a"})
    broken = Program("broken", ("{python}", "-c", "raise SystemExit('out of luck')"))
    absent = Program("absent", ("x",), packages=("no_such_package",))
    bench = Bench(tmp_path / "scratch", rounds=2)
    runs = bench.in_turn([right, wrong, broken, absent], [START], pages_in(site, [START]))
    assert list(runs.figures) == ["right"]
    assert len(runs.figures["right"]["cpu"]) == 2
    assert "1 of 3 pages are missing" in runs.absent["wrong"]
    assert "out of luck" in runs.absent["broken"]
    assert runs.absent["absent"] == "not installed: no_such_package"
    rows = of_runs("", runs).rows
    assert [row[0] for row in rows] == ["right", "wrong", "broken", "absent"]
    assert "missing" in rows[1][1]


def test_only_the_peers_that_are_asked_for_take_part(tmp_path: Path) -> None:
    bench = Bench(tmp_path, peers=("scrapy", "wget"))
    assert bench.takes(programs.SCRAPY)
    assert bench.takes(programs.WGET2)
    assert not bench.takes(programs.LOOP)
    assert not Bench(tmp_path, peers=()).takes(programs.SCRAPY)
    assert Bench(tmp_path, peers=()).takes(programs.OURS[0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (0.5, "0.50"), (2.345, "2.35"), (23.45, "23.4"), (12345.6, "12,346")],
)
def test_figures_have_the_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_a_table_shows_the_median_and_the_spread() -> None:
    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00 to 3.00)"
    assert spread([3.0]) == "3.00"
    runs = Runs(["ours"])
    runs.note("ours", Cost(cpu=2.0, wall=4.0, memory=50_000_000, code=0), 1000)
    assert of_runs("A site", runs).markdown() == (
        "**A site**\n\n"
        "|  | CPU, ms a page | pages a second | memory, MB |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| ours | 2.00 | 250 | 50.0 |\n"
    )


def test_what_is_missing_comes_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("benchmarks.nginx.missing", lambda: "nginx")
    lines = what_is_missing(["docs"], Bench(tmp_path, peers_python="/no/such/python"))
    assert lines[1].startswith("  apt-get install nginx-light wget2 wrk")
    assert lines[2].startswith("missing for the peers, in /no/such/python: scrapy, crawlee")
    assert lines[3] == "  /no/such/python -m pip install -r benchmarks/peers.txt"


def test_each_workload_asks_for_what_it_needs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("benchmarks.nginx.missing", lambda: "nginx")
    monkeypatch.setattr("benchmarks.missing.SITES", dict.fromkeys(SITES, tmp_path / "nothing"))
    monkeypatch.setattr("benchmarks.missing.packages_missing", lambda python, packages: packages)
    python, postgres = goals.PYTHON, goals.POSTGRES
    assert debian_packages(["frontier", "formats"]) == []
    assert debian_packages(["items"]) == ["nginx-light"]
    assert debian_packages(["soup"]) == ["nginx-light", postgres]
    assert debian_packages(["soup", "parts"]) == ["nginx-light", postgres, python]
    assert debian_packages(["docs"]) == ["nginx-light", "wget2", "wrk", python, postgres]
    lines = "\n".join(what_is_missing(["formats"], Bench(tmp_path, python="python")))
    assert "in python: pyarrow, zstandard\n  python -m pip install -e '.[parquet,zstd]'" in lines
    assert "pyarrow" not in "\n".join(what_is_missing(["frontier"], Bench(tmp_path)))
    for needed in (*debian_packages(NAMES), "parquet", "zstd"):
        assert needed in document.HEAD.partition("makes this document")[0]


def test_the_front_door_says_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        front_door.main(["dcos"])
    assert ended.value.code == 2
    assert f"no workload 'dcos'; there are {', '.join(NAMES)}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        front_door.main(["docs", "--peers", "scrapie"])
    assert "no peer has 'scrapie' in its name; there are: Scrapy; " in capsys.readouterr().err


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """By workload: what it returns, or raises, instead of being measured; those not asked stay."""
    answers: dict[str, Any] = {}
    needs_nginx = {name: workload(name).NEEDS_NGINX for name in NAMES}

    def instead(name: str) -> Any:
        def measure(bench: Bench) -> section.Section:
            answer = answers.pop(name)
            if isinstance(answer, Exception):
                raise answer
            assert isinstance(answer, section.Section)
            return answer

        return SimpleNamespace(__doc__=name, NEEDS_NGINX=needs_nginx[name], measure=measure)

    monkeypatch.setattr(front_door, "workload", instead)
    monkeypatch.setattr(front_door, "what_is_missing", lambda names, bench: [])
    monkeypatch.setattr(front_door, "debian_packages", lambda names: [])
    monkeypatch.setattr(machine, "versions", lambda python, packages: "")
    return answers


def test_a_workload_that_is_given_up_stops_no_other(
    measured: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    measured["order"] = WrongAnswerError("840 pages are missing")
    measured["mapping"] = section.Section("mapping", notes=["All is well."])
    assert front_door.main(["order", "mapping"]) == 1
    said = capsys.readouterr()
    assert "order was given up: 840 pages are missing" in said.err
    assert "## mapping" in said.out
    assert "All is well." in said.out
    measured["mapping"] = section.Section("mapping")
    assert front_door.main(["mapping"]) == 0


def test_figures_of_other_workloads_are_kept(measured: dict[str, Any], tmp_path: Path) -> None:
    section.save({"docs": a_section()}, tmp_path / "x.json")
    measured["mapping"] = section.Section("mapping", figures={"a": {"b": {"us": [1.0]}}})
    measured["order"] = OSError("no")
    assert front_door.main(["order", "mapping", "--write", str(tmp_path / "x.md")]) == 1
    kept = section.load(tmp_path / "x.json")
    assert list(kept) == ["docs", "mapping"]
    assert kept["docs"] == a_section()
    assert kept["mapping"].figures == {"a": {"b": {"us": [1.0]}}}
    assert (tmp_path / "x.md").read_text() == document.whole(kept)


def test_without_psutil_nothing_is_measured(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_door, "packages_missing", lambda python, packages: packages)
    measured["mapping"] = section.Section("mapping")
    assert front_door.main(["mapping"]) == 2
    assert list(measured) == ["mapping"]


def test_without_nginx_only_what_needs_it_is_left_out(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_door, "debian_packages", lambda names: ["nginx-light"])
    measured["docs"] = section.Section("docs")
    measured["mapping"] = section.Section("mapping")
    assert front_door.main(["docs", "mapping"]) == 0
    assert list(measured) == ["docs"]
    assert front_door.main(["docs"]) == 2
    assert list(measured) == ["docs"]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_beginning(
    measured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "x.md"
    written.touch()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setattr(machine, "REPOSITORY", tmp_path)
    machine.commit.cache_clear()
    monkeypatch.setattr(front_door, "say", lambda _: written.write_text("changed meanwhile"))
    measured.update({name: section.Section(name) for name in ("order", "mapping")})
    assert front_door.main(["order", "mapping", "--write", str(written)]) == 0
    ours = [found.facts["ours"] for found in section.load(tmp_path / "x.json").values()]
    assert re.fullmatch(r"commit [0-9a-f]{7,}", ours[0])
    assert ours[1] == ours[0]
    machine.commit.cache_clear()
    assert machine.commit() == f"{ours[0]}-dirty"
    machine.commit.cache_clear()


def test_every_workload_says_what_it_asks() -> None:
    for name in NAMES:
        assert len(workload(name).__doc__ or "") > 80, name


def test_every_file_that_a_program_runs_is_there() -> None:
    for each in (*programs.OURS, *programs.PEERS):
        for part in each.command:
            if part.startswith("{here}"):
                assert Path(part.format(here=HERE)).is_file(), part


@pytest.mark.skipif(nginx.missing() is not None, reason="nginx with its module echo is missing")
def test_nginx_serves_a_site_on_many_hosts_as_late_and_as_badly_as_asked(tmp_path: Path) -> None:
    path = sites.write_site(tmp_path / "site", pages=30, links=5, size=3_000)
    hosts = ["127.0.0.1", "127.0.3.4"]
    with nginx.serve(tmp_path / "site", tmp_path / "nginx", hosts=hosts, latency=0.2) as urls:
        assert len(pages_in(tmp_path / "site", [url + path for url in urls])) == 60
        begin = perf_counter()
        with urllib.request.urlopen(urls[1] + path) as page:
            body = page.read()
            assert page.headers["Content-Type"] == "text/html"
        assert perf_counter() - begin >= 0.2
        assert 2_900 < len(body) <= 3_100
        assert body.count(b"<a ") == 5
    errors = nginx.Weather(errors=100)
    with (
        nginx.serve(tmp_path / "site", tmp_path / "nginx", weather=errors) as (url,),
        pytest.raises(HTTPError, match="500"),
    ):
        urllib.request.urlopen(url + path)
    resets = nginx.Weather(resets=100)
    with (
        nginx.serve(tmp_path / "site", tmp_path / "nginx", weather=resets) as (url,),
        pytest.raises(ConnectionResetError),
    ):
        urllib.request.urlopen(url + path)


def a_section() -> section.Section:
    runs = Runs(["ours, async", "Scrapy"])
    for cpu in (1.0, 2.0, 6.0):
        runs.note("ours, async", Cost(cpu, 1.0, 1, 0), 1000)
        runs.note("Scrapy", Cost(10 * cpu, 1.0, 1, 0), 1000)
    found = section.Section("docs")
    found.add(goals.PYTHON, "A site", runs)
    return found


def test_ratios_are_taken_round_by_round() -> None:
    ratio = a_section().ratio(goals.PYTHON, ("Scrapy", "cpu"), ("ours, async", "cpu"))
    assert ratio == pytest.approx(10)
    assert a_section().ratio(goals.PYTHON, ("Scrapy", "cpu"), ("nobody", "cpu")) is None


def test_a_goal_is_met_missed_or_not_measured() -> None:
    goal = goals.Goal("docs", "a ratio", True, 9.0, lambda s: 10.0 if s.figures else 8.0, "")
    assert goal.row(a_section()) == ["a ratio", "≥ 9.00", "10.0", "yes"]
    assert goal.row(section.Section("docs")) == ["a ratio", "≥ 9.00", "8.00", "**no**"]
    assert goal.row(None) == ["a ratio", "≥ 9.00", "not measured", ""]


def test_a_goal_that_is_missed_comes_with_its_reason() -> None:
    assert goals.LIBRARIES not in goals.table({"docs": section.Section("docs")})
    slow = section.Section("docs", figures={goals.PYTHON: {}})
    costs = {goals.SCRAPY: [10.0], goals.ASYNC: [5.0]}
    slow.figures[goals.PYTHON] = {name: {"cpu": cost} for name, cost in costs.items()}
    told = goals.table({"docs": slow})
    assert told.count(goals.LIBRARIES) == 1
    assert goals.ONE_CORE not in told


def test_every_goal_has_a_reason_in_case_that_it_is_missed() -> None:
    for goal in goals.GOALS:
        assert len(goal.why_not) > 80, goal.text


def test_items_have_to_cost_less_with_fast_and_no_memory() -> None:
    found = section.Section("items", figures={"crawls": {}, "items": {}})
    for name, memory in ((goals.LINES, 52.0), (goals.NO_ITEMS, 40.0)):
        found.figures["crawls"][name] = {"memory": [memory]}
    found.figures["items"][goals.LINES] = {"us": [6.9]}
    rows = [goal.row(found) for goal in goals.GOALS if goal.workload == "items"]
    assert [row[1:] for row in rows if row[0].endswith(goals.LINES)] == [
        ["≤ 12.0", "6.90", "yes"],
        ["≤ 5.00", "6.90", "**no**"],
        ["≤ 1.10", "1.30", "**no**"],
    ]
    told = goals.table({"items": found})
    assert goals.SAME_BYTES in told
    assert goals.WINDOW in told
    assert goals.ITEMS not in told


def test_the_parts_of_both_parsers_are_measured_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def measured(bench: Bench, program: Program, start: str, urls: list[str]) -> dict[str, float]:
        asked.append(program.name)
        return dict.fromkeys(parts.ROWS, float(len(asked)))

    monkeypatch.setattr(parts, "SITES", {"a site": tmp_path})
    monkeypatch.setattr(parts, "_parts", measured)
    monkeypatch.setattr(parts, "pages_in", lambda folder, starts: dict.fromkeys(starts, ""))
    monkeypatch.setattr(nginx, "serve", lambda folder, scratch: nullcontext(["http://x"]))
    monkeypatch.setattr(Bench, "missing", lambda bench, program: None)
    found = parts.measure(Bench(tmp_path, rounds=2))
    assert asked == ["ours, async", "ours, async, fast"] * 2
    assert found.tables[0].rows[0][1:] == ["2.00 (1.00 to 3.00)", "3.00 (2.00 to 4.00)"]


@pytest.mark.parametrize("which", ["core", "fast"])
def test_the_parts_of_a_page_are_measured_one_by_one(which: str) -> None:
    with demo.start(port=0) as site:
        found = parts._in_process(which, [f"{site.url}/text/page/{page}/" for page in range(1, 6)])
    assert set(found) == {"fetch", "decode", "parse", "links", "requests"}
    assert all(milliseconds > 0 for milliseconds in found.values())


def test_the_profile_shares_out_the_time_of_a_url(tmp_path: Path) -> None:
    shares = frontier.profile(500, tmp_path / "x.sqlite", least=0)  # shares vary with the load
    assert sum(shares.values()) == pytest.approx(100)
    assert {"ranks", "engine", "journal", frontier.OWN, frontier.PYTHONS} <= set(shares)


def test_the_document_is_made_from_its_figures(tmp_path: Path) -> None:
    section.save({"docs": a_section()}, tmp_path / "x.json")
    kept = section.load(tmp_path / "x.json")
    assert kept == {"docs": a_section()}
    assert "| ours, async | 2.00 (1.00 to 6.00) |" in document.whole(kept)


def test_no_figure_of_the_document_is_typed() -> None:
    path = REPOSITORY / "docs" / "benchmarks.md"
    figures = section.load(path.with_suffix(".json"))
    assert set(figures) <= set(NAMES)
    told = "python -m benchmarks --rewrite docs/benchmarks.md makes it anew"
    assert path.read_text(encoding="utf-8") == document.whole(figures), told


def test_the_document_says_what_each_peer_does() -> None:
    about = document.peers()
    told = "What we do and it doesn't"
    for file in (HERE / "peers").glob("[!_]*.py"):
        _, found, rest = about.partition(f"`peers/{file.name}`: ")
        assert found
        assert told in " ".join(rest.partition("\n`")[0].split()) or "rest is as in with_" in rest
    for tool in (programs.WGET2, programs.WRK):
        assert f"`{' '.join(tool.command)}`: {tool.about}" in about
    assert all(peer.about for peer in programs.PEERS if peer.tool)
    assert "What it does and we don't: middlewares," in about


def test_what_a_bad_day_costs_stands_below_both_days() -> None:
    found = section.Section("faults")
    for day, cpu in (("good", [1.0, 2.0, 3.0]), ("bad", [2.5, 2.4, 9.0])):
        found.figures[day] = {"ours, async": {"cpu": cpu}}
    found.figures["good"]["Scrapy"] = {"cpu": [4.0]}
    told = document.of_section(found, "")
    assert "**What the bad day costs**\n\n|  | CPU, ms a page |" in told
    assert "| ours, async | 0.50 |" in told
    assert "Scrapy" not in told


def test_slopes_tell_growth_that_is_not_in_proportion() -> None:
    assert slope_and_steps([(1, 1.5), (2, 2.5), (4, 4.5)]) == pytest.approx((1e3, 1e3, 1e3))
    squares = [(float(n), float(n * n)) for n in (1, 2, 4)]
    _, first, last = slope_and_steps(squares)
    assert (first, last) == pytest.approx((3e3, 6e3))


def test_titles_and_links_are_compared_as_they_mean() -> None:
    assert mark(" a\n b", ["x", "y", "x"]) == mark("a b", ["y", "x"])
    assert mark(None, []) == mark("", [])
    assert mark("a", ["x"]) != mark("a", ["y"])
