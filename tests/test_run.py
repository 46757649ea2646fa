"""`crawler.run`: the same crawl from Python."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import crawler
from command_line import crawl, spider_file
from conftest import REPOSITORY
from crawler import CrawlError, Request, Response, spider
from crawler.demo import PracticeSite
from crawler.errors import SettingError, UsageError
from crawler.progress import running

QIUSHIBAIKE = str(REPOSITORY / "spiders" / "qiushibaike.py")


@spider(url="http://127.0.0.1:1/text/page/{page}/", retries=0)
def titles(response: Response, *, mark: str = "-") -> dict[str, Any]:
    """The title of each page."""
    return {"title": response.css("title::text").get(), "mark": mark, "page": response.meta["page"]}


def echo(url: str) -> dict[str, str]:
    return {"url": url}


def test_a_spider_by_name_gives_items_in_order(tmp_cwd: Path, site: PracticeSite) -> None:
    spider_file(
        tmp_cwd / "spiders" / "pages.py",
        "@spider(url='https://gone.test/text/page/{page}/')\n"
        "def pages(response):\n    return {'page': response.meta['page']}\n",
    )
    result = crawler.run("pages", pages="2-4", site=site.url)
    assert result.items == [{"page": 2}, {"page": 3}, {"page": 4}]
    assert (result.failures, result.exit_code) == ([], 0)
    assert (result.stats.pages, result.stats.requests) == (3, 3)


@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "async"])
def test_a_function_itself(mode: str, site: PracticeSite) -> None:
    result = crawler.run(titles, pages=2, site=site.url, mode=mode, arguments={"mark": "!"})
    assert [(item["page"], item["mark"]) for item in result.items] == [(1, "!"), (2, "!")]
    assert all(item["title"] for item in result.items)


def test_it_may_be_called_again_and_leaves_nothing(tmp_cwd: Path, site: PracticeSite) -> None:
    before = set(threading.enumerate())
    for _ in range(3):
        for mode in ("threads", "processes"):
            assert len(crawler.run(titles, pages=1, site=site.url, mode=mode).items) == 1
    assert set(threading.enumerate()) == before
    assert list(tmp_cwd.iterdir()) == []
    assert not [name for name in running() if f"-{os.getpid()}-" in name]


def test_it_runs_inside_an_event_loop(site: PracticeSite) -> None:
    async def notebook_cell() -> int:
        return len(crawler.run(titles, pages=2, site=site.url, mode="processes").items)

    assert asyncio.run(notebook_cell()) == 2


def test_a_function_that_lives_here_only_runs_in_threads() -> None:
    found = []

    def inner(url: str) -> dict[str, str]:
        found.append(url)
        return {"url": url}

    assert len(crawler.run(inner, urls="http://x.test/{1..3}").items) == 3
    assert sorted(found) == [f"http://x.test/{n}" for n in (1, 2, 3)]
    for nameless in (inner, partial(echo), "{}".format):
        with pytest.raises(UsageError, match="has no name at the top of a module, by which"):
            crawler.run(nameless, urls="http://x.test/", mode="processes")


def test_a_builtin_is_a_function_too() -> None:
    (failure,) = crawler.run(len, urls=["http://x.test/"]).failures
    assert failure["kind"] == "item"
    assert "the spider returned a" in failure["message"]


def test_urls_may_be_a_generator_without_end_in_sight() -> None:
    taken = []

    def urls() -> Iterator[str]:
        for number in range(100_000):
            taken.append(number)
            yield f"http://x.test/{number}"

    def interrupted(url: str) -> dict[str, str]:
        if url.endswith("/50"):
            raise KeyboardInterrupt
        return {"url": url}

    with pytest.raises(KeyboardInterrupt):
        crawler.run(interrupted, urls=urls(), mode="sequential")
    assert len(taken) < 200


def test_requests_carry_method_headers_body_and_meta(site: PracticeSite) -> None:
    def echoed(response: Response) -> dict[str, Any]:
        return {"echo": response.json(), "tag": response.meta["tag"]}

    request = Request(
        f"{site.url}/echo", method="POST", headers={"X-Tag": "a"}, body=b"b", meta={"tag": 7}
    )
    (item,) = crawler.run(echoed, urls=[request]).items
    assert item["tag"] == 7
    assert item["echo"]["method"] == "POST"
    assert item["echo"]["body"] == "b"


def test_redirects_end_in_the_same_place(site: PracticeSite) -> None:
    def where(response: Response) -> dict[str, Any]:
        return {"url": response.url, "hops": len(response.history)}

    result = crawler.run(where, urls=[f"{site.url}/redirect/3", f"{site.url}/redirect-loop"])
    assert [item["hops"] for item in result.items] == [3]
    (failure,) = result.failures
    assert failure["kind"] == "redirect"


def test_a_flaky_page_is_tried_again_and_a_patient_server_is_obeyed(site: PracticeSite) -> None:
    def ok(response: Response) -> dict[str, Any]:
        return {"status": response.status}

    result = crawler.run(ok, urls=[f"{site.url}/flaky/run?fails=2"], retries=2)
    assert result.items == [{"status": 200}]
    assert result.stats.retries == 2
    result = crawler.run(ok, urls=[f"{site.url}/flaky/again?fails=2"], retries=1)
    assert [(f["status"], f["attempts"]) for f in result.failures] == [(503, 2)]


@pytest.mark.parametrize("mode", ["threads", "processes", "async"])
def test_f29_a_page_that_is_stuck_fails_by_itself(mode: str, tmp_cwd: Path) -> None:
    file = spider_file(
        tmp_cwd / "stuck.py",
        "import time\n"
        "def stuck(url):\n"
        "    time.sleep(60 if url.endswith('2') else 0)\n"
        "    return {'url': url}\n",
    )
    urls = "http://x.test/{1..6}"
    result = crawler.run(str(file), urls=urls, mode=mode, workers=2, page_timeout=1)
    assert [item["url"][-1] for item in result.items] == ["1", "3", "4", "5", "6"]
    assert [(f["rank"], f["kind"]) for f in result.failures] == [(1, "page-timeout")]


@pytest.mark.parametrize("mode", ["sequential", "threads"])
def test_a_spider_may_crawl_itself_and_keeps_its_arguments(mode: str) -> None:
    def inner(url: str) -> dict[str, str]:
        return {"inner": url}

    def outer(url: str, *, tag: str = "default") -> dict[str, Any]:
        found = crawler.run(inner, urls=[url], mode="sequential").items
        return {"tag": tag, "found": found}

    urls = [f"http://x.test/{number}" for number in range(6)]
    result = crawler.run(outer, urls=urls, arguments={"tag": "given"}, mode=mode, workers=2)
    assert result.items == [{"tag": "given", "found": [{"inner": url}]} for url in urls]


def test_f31_until_empty_on_a_site_that_is_gone_publishes_nothing(
    site: PracticeSite, tmp_cwd: Path
) -> None:
    @spider(url=f"{site.url}/status/404?page={{page}}")
    def gone(response: Response) -> dict[str, str]:
        return {}

    Path("old.json").write_text("[1]")
    result = crawler.run(gone, pages="until-empty", output="old.json")
    assert (result.exit_code, result.stats.failed) == (3, 1)
    assert Path("old.json").read_text() == "[1]"


def test_until_empty_that_gives_up_publishes_nothing(site: PracticeSite, tmp_cwd: Path) -> None:
    def breaks(response: Response) -> dict[str, int]:
        page: int = response.meta["page"]
        return {"page": page, "left": 1 // max(0, 6 - page)}

    marked = spider(url=f"{site.url}/headers?page={{page}}")(breaks)
    result = crawler.run(marked, pages="until-empty", output="x.json", max_failed=20)
    assert (result.exit_code, result.stats.items, result.stats.failed) == (3, 5, 10)
    assert "gave up: 10 pages in a row failed" in (result.verdict.problem or "")
    assert not Path("x.json").exists()


def test_f29_exits_in_steps_and_starts_do_not_end_the_run_silently(site: PracticeSite) -> None:
    def leave(item: dict[str, Any]) -> dict[str, Any] | None:
        raise SystemExit(0)

    @spider(start=[f"{site.url}/headers"], steps=[leave])
    def stepping(response: Response) -> dict[str, str]:
        return {}

    result = crawler.run(stepping)
    assert (result.exit_code, result.stats.failed_items) == (3, 1)

    def start() -> Iterator[str]:
        yield "http://x.test/"
        raise SystemExit(0)

    with pytest.raises(CrawlError, match=r"the start of the crawl failed:\n(.*\n)*SystemExit: 0"):
        crawler.run(echo, urls=start())


@pytest.mark.parametrize("is_lazy", [False, True])
def test_a_start_that_raises_is_shown_from_its_own_first_frame_on(is_lazy: bool) -> None:
    def urls() -> list[str]:
        return [{"a": "https://x.test/"}["b"]]

    def lazy_urls() -> Iterator[str]:
        yield from urls()

    @spider(start=lazy_urls if is_lazy else urls)
    def starting(response: Response) -> None: ...

    with pytest.raises(CrawlError) as caught:
        crawler.run(starting)
    headline, _, first, *_, last = str(caught.value).splitlines()
    assert headline == "the start of the crawl failed:"
    assert first.startswith(f'  File "{__file__}"')
    assert first.endswith("in lazy_urls" if is_lazy else "in urls")
    assert last == "KeyError: 'b'"


def test_a_start_of_rubbish_is_an_error() -> None:
    rubbish: Any = [3]
    with pytest.raises(UsageError, match="3 is an int, neither a URL nor a Request"):
        crawler.run(echo, urls=rubbish)
    with pytest.raises(UsageError, match="neither a URL nor a Request"):
        crawler.run(echo, urls=iter(rubbish))


def test_a_spider_may_change_the_directory(tmp_cwd: Path) -> None:
    def wanders(url: str) -> dict[str, str]:
        os.chdir("/")
        return {"url": url}

    crawler.run(wanders, urls=["http://x.test/"], output="here.json")
    assert (tmp_cwd / "here.json").exists()


def test_what_spiders_print_in_other_processes_is_printed_here(tmp_path: Path) -> None:
    script = spider_file(
        tmp_path / "prints.py",
        "import logging, sys, crawler\n"
        "def prints(url):\n"
        "    print('half \\ud800')\n"
        "    sys.stdout.buffer.write(b'')\n"
        "    logging.warning('%d', 'not a number')\n"
        "    if url.endswith('2'):\n"
        "        sys.stdout.write(None)\n"
        "    return {'url': url}\n"
        "if __name__ == '__main__':\n"
        "    for mode in ('threads', 'processes'):\n"
        "        result = crawler.run(prints, urls='http://x.test/{1..3}', mode=mode)\n"
        "        print(mode, len(result.items), [f['kind'] for f in result.failures])\n",
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"},
    )
    assert done.stdout.count("half \\ud800") == 6
    # Threads print in each other's lines: those without "half" are the script's own.
    assert [line for line in done.stdout.splitlines() if line and "half" not in line] == [
        "threads 2 ['spider']",
        "processes 2 ['spider']",
    ]


@pytest.mark.parametrize("name", ["crawler", "queue", "json", "requests", "tenacity"])
@pytest.mark.parametrize("mode", ["threads", "processes", "async"])
def test_a_spider_file_may_have_any_name(mode: str, name: str, tmp_cwd: Path) -> None:
    file = tmp_cwd / "mine" / f"{name}.py"
    file.parent.mkdir()
    file.write_text("def spider(url):\n    return {'url': url}\n")
    done = crawl("run", f"{file}:spider", "--urls", "http://x.test/", "--mode", mode, "-o", "-")
    assert json.loads(done.stdout or "[]") == [{"url": "http://x.test/"}], done.stderr


def test_failures_come_as_records() -> None:
    def wrong(url: str) -> None:
        raise LookupError("no such thing")

    result = crawler.run(wrong, urls=["http://x.test/"])
    (record,) = result.failures
    assert record["kind"] == "spider"
    assert record["message"] == "LookupError: no such thing"
    assert "in wrong" in record["traceback"]
    assert result.exit_code == 3


def test_output_is_published_besides(tmp_cwd: Path) -> None:
    result = crawler.run(echo, urls="http://x.test/{1..2}", output="deep/items.jsonl")
    lines = Path("deep/items.jsonl").read_text().splitlines()
    assert list(map(json.loads, lines)) == result.items


def test_there_may_be_several_outputs(tmp_cwd: Path) -> None:
    crawler.run(echo, urls="http://x.test/", output=["items.jsonl", Path("items.csv")])
    assert sorted(file.name for file in Path().glob("items.*")) == ["items.csv", "items.jsonl"]


def test_one_request_is_a_start() -> None:
    assert len(crawler.run(echo, urls=Request("http://x.test/")).items) == 1


async def modern(response: Response) -> dict[str, Any]:
    return {"url": response.url}


async def modern_generator(response: Response) -> AsyncIterator[dict[str, Any]]:
    yield {"url": response.url}


class Modern:
    """A spider with a state, as it could be if it were no async one."""

    async def __call__(self, response: Response) -> None: ...


@pytest.mark.parametrize("function", [modern, modern_generator, Modern(), partial(modern)])
def test_an_async_spider_is_refused_before_anything_is_fetched(function: Any) -> None:
    with pytest.raises(UsageError, match=r"a plain one: def, not async def\. .* --mode async"):
        crawler.run(function, urls=["http://x.test/"], mode="async")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"urls": []}, UsageError, "there are no URLs"),
        ({"urls": "http://x.test/", "workers": 0}, SettingError, "from the call of run()"),
        ({"urls": "http://x.test/", "speed": 9}, SettingError, "no such setting"),
        ({}, UsageError, "names no start"),
        ({"urls": "http://x.test/", "arguments": {"k": 1}}, UsageError, "has no such argument"),
        ({"urls": "http://x.test/", "arguments": [1]}, UsageError, "arguments: .1. is no dict of"),
        ({"urls": 5}, UsageError, "urls: 5 is an int; give a list of URLs or Requests, or text"),
        ({"urls": b"http://x.test/"}, UsageError, "is a bytes; give a list of URLs"),
        ({"urls": "http://x.test/", "site": 5}, UsageError, "--site 5: it is no text"),
        ({"urls": "http://x.test/", "mode": 5}, SettingError, "unknown mode 5; choose"),
        ({"urls": "http://x.test/", "output": 5}, UsageError, "output: 5 names no file; give a na"),
        ({"urls": "http://x.test/", "output": []}, UsageError, "or a Path, or a list of them"),
        ({"urls": "http://x.test/", "output": ["a.json", None]}, UsageError, "names no file"),
    ],
)
def test_what_cannot_be_run_raises(
    arguments: dict[str, Any], error: type[CrawlError], message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(").replace(")", r"\)")):
        crawler.run(echo, **arguments)


def test_one_run_of_a_name_at_a_time(tmp_cwd: Path) -> None:
    def nested(url: str) -> dict[str, str]:
        crawler.run(nested, urls="http://x.test/", output="b.json")
        return {}

    result = crawler.run(nested, urls="http://x.test/", output="a.json")
    assert result.items == []
    assert "another run of nested is at work" in result.failures[0]["message"]


@pytest.mark.parametrize("name", ["script.py", "myscript"])
def test_a_script_needs_no_main_guard(name: str, tmp_path: Path) -> None:
    """Worker processes import it to find the spider, and leave off where it would crawl again."""
    script = tmp_path / name
    script.write_text(
        "import crawler\n"
        "def echo(url):\n    return {'url': url}\n"
        "result = crawler.run(echo, urls=['http://x.test/'], mode='processes')\n"
        "print(result.items, result.failures)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("[{'url': 'http://x.test/'}] []\n", "")


def test_the_public_names_are_what_they_say() -> None:
    for name in crawler.__all__:
        assert getattr(crawler, name) is not None
    assert callable(crawler.run)
    assert callable(crawler.spider)


def test_a_spider_that_is_typed_in_has_no_file(site: PracticeSite, tmp_cwd: Path) -> None:
    """As in a notebook, or at Python's prompt: its source stands nowhere."""
    script = (
        "import crawler\n"
        "def page(response):\n    return {'status': response.status}\n"
        f"print(crawler.run(page, urls=['{site.url}/empty'], output='page.json').items)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )
    assert done.stdout == "[{'status': 200}]\n", done.stderr
    assert json.loads((tmp_cwd / "page.json").read_bytes()) == [{"status": 200}]
