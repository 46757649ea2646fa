"""Files and pictures of a real site on loopback: fetched, stored, found again, in every mode."""

from __future__ import annotations

import hashlib
import io
import json
import re
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import crawler
from command_line import crawl, signal_all, spider_file, start_crawl
from conftest import told
from crawler import Download, Response, spider
from crawler.errors import FetchError, UsageError
from crawler.fetchers import make_fetcher
from crawler.file_part import FilePart
from crawler.request import Request
from static_site import served
from test_fetchers import Make, OnLoop

Image = pytest.importorskip("PIL.Image", reason="the extra `images` is not installed")

MODES: list[dict[str, Any]] = [
    {"mode": "sequential"},
    {"mode": "threads", "workers": 6},
    {"mode": "processes", "workers": 2, "concurrency": 6},
    {"mode": "processes", "workers": 2, "concurrency": 6, "fetcher": "requests"},
    {"mode": "async", "concurrency": 6},
]
PAGES = 12

SPIDER = """
from crawler import Download

@spider(images=["pictures"], thumbnails={"small": (20, 20), "icon": {"size": "9x9", "how": "crop"}})
def album(response):
    yield {
        "page": response.url,
        "pictures": response.css("img::attr(src)").getall(),
        "paper": Download(response.css("a.paper::attr(href)").get()),
    }
    yield from response.follow_all(css="a.next")
"""


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40 + number, 30), (number % 256, 99, 0)).save(stream, "PNG")
    return stream.getvalue()


class Site:
    """Paths and what they answer: (status, headers, body). Answers with ETags, and counts."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, int]] = []
        self.delay = 0.0
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 2**20
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                status, headers, body = site.answer(self.path, dict(self.headers.items()))
                site.asked.append((self.path, status))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    if not (status == 304 and name == "Content-Length"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def add(self, path: str, body: bytes | str, *, status: int = 200, **headers: str) -> None:
        body = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = status, named, body

    def answer(self, path: str, asked: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        time.sleep(self.delay)
        status, headers, body = self.answers.get(path, (404, {}, b"<h1>Not found</h1>"))
        if status != 200 or "no-etag" in path:
            return status, headers, body
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        if asked.get("If-None-Match") == etag and path.endswith((".png", ".pdf")):
            return 304, {"ETag": etag}, b""
        return 200, {"ETag": etag, **headers}, body

    def statuses(self, *, of: str = "") -> dict[int, int]:
        """How often each status was given since the last time, for paths with `of` in them."""
        statuses = [status for path, status in self.asked if of in path]
        return {status: statuses.count(status) for status in sorted(set(statuses))}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    """An album: pages that share pictures, one picture that is missing, one that is none."""
    site = Site()
    for number in range(PAGES):
        pictures = [f"p{number}.png", "shared.png", f"p{number // 2}-copy.png"]
        pictures += ["gone.png"] * (number == 3) + ["html.png"] * (number in (5, 6))
        images = "".join(f'<img src="/img/{name}">' for name in pictures)
        links = f'<a class=paper href="/doc/{number}.pdf">paper</a>'
        links += f'<a class=next href="/{number + 1}">next</a>' * (number + 1 < PAGES)
        site.add(f"/{number}", f"<html>{images}{links}", Content_Type="text/html")
        site.add(f"/img/p{number}.png", png(number))
        site.add(f"/img/p{number}-copy.png", png(number))
        site.add(f"/doc/{number}.pdf", b"%%PDF-1.7 %d" % (number // 4), Content_Type="text/html")
    site.add("/img/shared.png", png(99))
    site.add("/img/html.png", "<html>no picture", Content_Type="image/png")
    yield site
    site.close()


@pytest.fixture
def album(tmp_cwd: Path) -> Path:
    return spider_file(tmp_cwd / "album.py", SPIDER)


def run(album: Path, site: Site, **settings: Any) -> crawler.CrawlResult:
    return crawler.run(
        str(album),
        urls=f"{site.url}/0",
        output="output/album.json",
        **{"mode": "threads", **settings},
    )


def stored(folder: Path) -> dict[str, bytes]:
    """Names below the folder of files, and what is in them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".index" not in path.name
    }


FILES = Path("output/album/files")


def name_of(way: dict[str, Any]) -> str:
    return "-".join(map(str, way.values()))


@pytest.mark.parametrize("way", MODES, ids=name_of)
def test_every_mode_stores_the_same_files_and_writes_the_same_bytes(
    way: dict[str, Any], site: Site, album: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    result = run(album, site, **way)
    assert len(result.items) == PAGES
    names = stored(FILES)
    for item in result.items:
        for each in [*item["pictures"], item["paper"]]:
            if each is not None:
                content = names[each["path"].removeprefix("album/files/")]
                assert hashlib.sha256(content).hexdigest() == each["sha256"]
                assert len(content) == each["bytes"]
    assert [result.items[n]["pictures"][3:] for n in (2, 3, 5, 6)] == [[], [None], [None], [None]]
    assert (Path("output/album.json").read_bytes(), names) == expected(site, tmp_path_factory)


def expected(site: Site, factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, bytes]]:
    """What one worker finds in an empty folder."""
    folder = factory.mktemp("expected")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(spider_file(folder / "album.py", SPIDER), site, workers=1)
        return Path("output/album.json").read_bytes(), stored(FILES)


def test_an_item_gets_what_is_known_of_its_files(site: Site, album: Path) -> None:
    item = run(album, site).items[4]
    picture, content = item["pictures"][0], png(4)
    sha256 = hashlib.sha256(content).hexdigest()
    assert picture == {
        "url": f"{site.url}/img/p4.png",
        "path": f"album/files/p4-{sha256[:16]}.png",
        "sha256": sha256,
        "bytes": len(content),
        "content_type": "image/png",
        "width": 44,
        "height": 30,
        "thumbnails": {
            "icon": f"album/files/thumbs/icon/p4-{sha256[:16]}.png",
            "small": f"album/files/thumbs/small/p4-{sha256[:16]}.png",
        },
    }
    paper = item["paper"]
    assert (paper["content_type"], paper["path"][-4:]) == ("application/pdf", ".pdf")
    assert (paper["width"], paper["height"], "thumbnails" in paper) == (None, None, False)
    with Image.open(Path("output") / picture["thumbnails"]["small"]) as small:
        assert small.size == (20, 14)
    with Image.open(Path("output") / picture["thumbnails"]["icon"]) as icon:
        assert icon.size == (9, 9)


def test_a_url_is_fetched_once_and_a_content_stored_once(site: Site, album: Path) -> None:
    result = run(album, site, workers=8)
    paths = [path for path, _ in site.asked]
    assert len(paths) == len(set(paths)), "shared.png is on every page, gone.png asked for once"
    names = stored(FILES)
    pictures = {item["pictures"][0]["sha256"] for item in result.items}
    papers = {item["paper"]["sha256"] for item in result.items}
    assert len(papers) == 3
    assert len(names) == 3 * (len(pictures) + 1) + len(papers)
    assert len(set(names.values())) == len(names)


def test_what_is_missed_is_none_in_the_item_and_a_failure_in_the_list(
    site: Site, album: Path
) -> None:
    result = run(album, site)
    misses = [(f["url"], f["page"], f["rank"], f["kind"], f["status"]) for f in result.failures]
    assert misses == [
        (f"{site.url}/img/gone.png", f"{site.url}/3", 3, "status", 404),
        (f"{site.url}/img/html.png", f"{site.url}/5", 5, "image", None),
    ]
    stats = result.stats
    assert (stats.failed, stats.failed_files, result.exit_code) == (0, 2, 3)
    assert stats.failures == {"file: status 404": 1, "file: image": 1}
    assert result.verdict.problem == f"0 of {PAGES} pages failed, and 2 files"
    assert run(album, site, max_failed=2).exit_code == 0


def test_the_report_counts_files_and_bytes(site: Site, album: Path) -> None:
    done = crawl("run", "album.py", "--urls", f"{site.url}/0", "--progress", "none")
    files = 2 * PAGES - PAGES // 2 + 1 + PAGES
    first = next(line for line in done.stderr.splitlines() if " pages, " in line)
    assert f"{PAGES} pages, {PAGES} items, {files} files (" in first
    assert first.endswith(", 2 files missing")
    assert "failed: 1 x file: status 404, 1 x file: image" in done.stderr
    assert done.returncode == 3
    again = crawl("run", "album.py", "--urls", f"{site.url}/0", "--progress", "none")
    assert f", {files} unchanged) in " in again.stderr


def test_why_knows_files_that_are_missed(site: Site, album: Path) -> None:
    run(album, site)
    done = crawl("why", f"{site.url}/img/gone.png#top")
    assert done.returncode == 0, done.stderr
    assert "a file that is missed: status (the server answered 404)" in done.stdout
    assert f"rank 3  {site.url}/3" in done.stdout


def test_files_behind_the_end_are_not_kept(site: Site, album: Path) -> None:
    result = run(album, site, max_items=2, workers=8)
    assert [item["page"] for item in result.items] == [f"{site.url}/0", f"{site.url}/1"]
    in_items = {
        each["path"] for item in result.items for each in [*item["pictures"], item["paper"]]
    }
    kept = {f"album/files/{name}" for name in stored(FILES) if "/" not in name}
    assert kept == in_items
    assert result.stats.files == len({"p0", "p1", "p0-copy", "shared", "paper 0", "paper 1"})


# ---- The second run ----


def test_what_is_unchanged_is_not_fetched_again(site: Site, album: Path) -> None:
    first = run(album, site)
    names = stored(FILES)
    site.asked.clear()
    second = run(album, site, mode="processes", workers=2)
    assert site.statuses(of=".p") == {200: 1, 304: first.stats.files, 404: 1}, "html.png is no file"
    assert second.items == first.items
    assert second.stats.unchanged_files == second.stats.files == first.stats.files
    assert stored(FILES) == names


def test_what_has_changed_is_fetched_again_and_the_old_file_stays(site: Site, album: Path) -> None:
    first = run(album, site)
    names = stored(FILES)
    site.add("/img/p1.png", png(200))
    site.asked.clear()
    second = run(album, site)
    assert ("/img/p1.png", 200) in site.asked
    old, new = (result.items[1]["pictures"][0] for result in (first, second))
    assert (old["width"], new["width"]) == (41, 240)
    assert stored(FILES).items() > names.items()


def test_what_has_vanished_here_is_fetched_again(site: Site, album: Path) -> None:
    first = run(album, site)
    before = stored(FILES)
    (FILES / Path(first.items[2]["pictures"][0]["path"]).name).unlink()
    (FILES / Path(first.items[3]["paper"]["path"]).name).write_bytes(b"shorter")
    thumbnail = Path(first.items[4]["pictures"][0]["thumbnails"]["icon"])
    (Path("output") / thumbnail).unlink()
    site.asked.clear()
    assert run(album, site).items == first.items
    assert stored(FILES) == before
    asked = dict(site.asked)
    assert asked["/img/p2.png"] == 200
    papers = site.statuses(of="/doc/")
    assert 1 <= papers[200] <= 4, "four of them are the same"
    assert papers[200] + papers[304] == PAGES
    assert asked["/img/p4.png"] == 304, "its thumbnail is made of the file that is here"


def test_other_thumbnails_are_made_without_fetching(site: Site, album: Path) -> None:
    run(album, site)
    site.asked.clear()
    second = run(album, site, thumbnails={"small": (30, 30), "wide": "40x10"})
    assert 200 not in site.statuses(of="/img/p")
    thumbnails = second.items[4]["pictures"][0]["thumbnails"]
    assert thumbnails.keys() == {"small", "wide"}
    with Image.open(Path("output") / thumbnails["small"]) as small:
        assert small.size == (30, 20)


def test_a_picture_that_is_too_small_by_todays_rules_is_missed(site: Site, album: Path) -> None:
    run(album, site)
    second = run(album, site, min_image="43x1")
    assert [item["pictures"][0] is None for item in second.items] == [True] * 3 + [False] * 9


def test_where_it_was_redirected_counts_for_conditions(site: Site, tmp_cwd: Path) -> None:
    site.add("/x.png", b"", status=302, Location="/img/p1.png")

    @spider(url=f"{site.url}/1")
    def one(response: Response) -> dict[str, Any]:
        return {"file": Download("/x.png")}

    first = crawler.run(one)
    assert first.items[0]["file"]["url"] == f"{site.url}/x.png"
    site.asked.clear()
    assert crawler.run(one).items == first.items
    assert site.asked[-2:] == [("/x.png", 302), ("/img/p1.png", 304)]
    site.add("/x.png", b"", status=302, Location="/img/p2.png")
    assert crawler.run(one).items[0]["file"]["sha256"] != first.items[0]["file"]["sha256"]
    assert (tmp_cwd / "output/one/files").is_dir()


# ---- Killed ----


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_f1_killed_and_resumed_it_is_as_if_nothing_had_happened(
    mode: str, site: Site, album: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    output, names = expected(site, tmp_path_factory)
    site.delay = 0.02
    kills = 0
    arguments = ["album.py", "--urls", f"{site.url}/0", "--mode", mode, "--concurrency", "4", "-q"]
    for at in (9, 20, 35):
        site.asked.clear()
        is_begun = bool(list(Path("output/runs").glob("album/*/run.json")))
        command = ["resume", "album", "-q"] if is_begun else ["run", *arguments]
        process = start_crawl(*command)
        while len(site.asked) < at and process.poll() is None:
            time.sleep(0.002)
        if process.poll() is None:
            kills += 1
        signal_all(process, signal.SIGKILL)
        process.communicate()
    assert kills >= 2
    done = crawl("resume", "album", "-q")
    assert done.returncode == 3 or "nothing to resume" in done.stderr, done.stderr
    assert Path("output/album.json").read_bytes() == output
    assert stored(FILES) == names, "and no halves are left"


def test_files_of_pages_that_were_not_committed_are_not_fetched_again(
    site: Site, album: Path
) -> None:
    """A page before them was still missing when the crawl was stopped."""
    page = site.answers["/1"]
    site.add("/1", "busy", status=500)
    urls = [f"{site.url}/1", f"{site.url}/{PAGES - 1}"]
    later = crawler.RetryPolicy(wait=lambda _: 60)
    settings: dict[str, Any] = {"output": "output/album.json", "retry": later}
    stopped = crawler.run(str(album), urls=urls, max_seconds=1, **settings)
    assert (stopped.exit_code, stopped.items) == (6, [])
    assert site.statuses(of=".p") == {200: 4}
    site.answers["/1"] = page
    site.asked.clear()
    whole = crawler.run(str(album), urls=urls, resume=True, max_pages=2, **settings)
    assert [item["page"] for item in whole.items] == urls
    assert whole.stats.files == len(stored(FILES)) - 2 * 5 == 7
    fetched = {path for path, _ in site.asked}
    assert fetched == {
        "/robots.txt",
        "/1",
        f"/{PAGES - 1}",
        "/img/p1.png",
        "/img/p0-copy.png",
        "/doc/1.pdf",
    }


def test_retried_pages_get_their_files_and_what_was_missed_stays_listed(
    site: Site, album: Path
) -> None:
    page = site.answers["/7"]
    site.add("/7", "busy", status=500)
    done = crawl("run", "album.py", "--urls", f"{site.url}/0", "-q", "--retries", "0")
    assert done.returncode == 3
    site.answers["/7"] = page
    site.asked.clear()
    done = crawl("retry", "album", "--progress", "none", "--max-failed", "2")
    assert done.returncode == 0, done.stderr
    items = json.loads(Path("output/album.json").read_bytes())
    assert len(items) == PAGES
    assert all(item["pictures"][0] for item in items)
    file = max(Path("output/runs/album").glob("*/failed.jsonl"))
    failed = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert sorted(Path(record["url"]).name for record in failed) == ["gone.png", "html.png"]


# ---- What the rules of a crawl say ----


def one_file(site: Site, url: str, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
    """What became of a file on a page of the site, and what was listed."""

    def one(response: Response) -> dict[str, Any]:
        return {"file": Download(url)}

    result = crawler.run(one, urls=f"{site.url}/0", retries=1, **settings)
    return result.items[0]["file"], result.failures


@pytest.mark.usefixtures("tmp_cwd")
def test_robots_txt_holds_for_files(site: Site) -> None:
    site.add("/robots.txt", "User-agent: *\nDisallow: /img/")
    file, (failure,) = one_file(site, "/img/p1.png")
    assert (file, failure["kind"]) == (None, "robots")
    assert not site.statuses(of="/img/")
    assert one_file(site, "/img/p1.png", robots=False)[0] is not None


@pytest.mark.usefixtures("tmp_cwd")
def test_t1_only_the_pages_own_host_may_be_private(site: Site) -> None:
    other = Site()
    other.add("/a.png", png(1))
    try:
        file, (failure,) = one_file(site, f"{other.url}/a.png")
        assert (file, failure["kind"]) == (None, "address")
        site.add("/to-other", b"", status=302, Location=f"{other.url}/a.png")
        assert one_file(site, "/to-other")[1][0]["kind"] == "address"
        assert not other.asked
        assert one_file(site, f"{other.url}/a.png", private_addresses="allow")[0] is not None
    finally:
        other.close()


@pytest.mark.usefixtures("tmp_cwd")
@pytest.mark.parametrize(
    ("answer", "kind", "requests"),
    [
        ({"body": b"", "status": 304}, "status", 1),
        ({"body": b"", "status": 204}, "status", 1),
        ({"body": b"x" * 100}, "too-large", 1),
        ({"body": b"x", "status": 503}, "status", 2),
        ({"body": b"x", "Content_Length": "5", "Connection": "close"}, "truncated", 2),
        ({"body": b"", "status": 302, "Location": "ftp://x/"}, "redirect", 1),
        ({"body": b"no gzip", "Content_Encoding": "gzip"}, "decode", 1),
    ],
)
def test_each_bad_answer_is_a_failure_and_the_item_stays(
    site: Site, answer: dict[str, Any], kind: str, requests: int
) -> None:
    site.add("/no-etag", **answer)
    file, (failure,) = one_file(
        site, "/no-etag", max_file=99, retry=crawler.RetryPolicy(wait=lambda _: 0)
    )
    assert (file, failure["kind"], failure["attempts"]) == (None, kind, requests)
    assert len([path for path, _ in site.asked if path == "/no-etag"]) == requests
    assert stored(Path("output/one/files")) == {}


@pytest.mark.usefixtures("tmp_cwd")
@pytest.mark.parametrize("url", ["", "http://[bad", "data:image/png;base64,AAAA", "ftp://x/y"])
def test_what_is_no_url_is_a_failure_too(site: Site, url: str) -> None:
    file, (failure,) = one_file(site, url)
    assert (file, failure["kind"]) == (None, "url")


@pytest.mark.usefixtures("tmp_cwd")
def test_t4_names_stay_in_the_folder(site: Site, tmp_path: Path) -> None:
    ugly = [
        "..%2F..%2F..%2Fetc%2Fpasswd",
        "%00",
        "CON.png",
        ".bashrc",
        "a" * 250,
        "x%E2%80%AEgpj.exe",
    ]

    def one(response: Response) -> Iterator[Download]:
        for name in ugly:
            yield Download(f"/ugly/{name}")

    for number, name in enumerate(ugly):
        site.add(f"/ugly/{name}", f"text {number}")
    result = crawler.run(one, urls=f"{site.url}/0")
    assert [item["file"]["content_type"] for item in result.items] == ["text/plain"] * len(ugly)
    assert len(stored(tmp_path / "output/one/files")) == len(ugly)
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["one"]


@pytest.mark.usefixtures("tmp_cwd")
def test_a_download_may_be_an_item_and_steps_see_it_whole(site: Site) -> None:
    @spider(url=f"{site.url}/0", steps=[lambda item: {**item, "size": item["paper"]["bytes"]}])
    def papers(response: Response) -> Iterator[Download]:
        yield Download("/doc/1.pdf", item_field="paper")

    (item,) = crawler.run(papers).items
    assert item["size"] == item["paper"]["bytes"] == len(b"%PDF-1.7 0")


@pytest.mark.usefixtures("tmp_cwd")
def test_a_function_that_fetches_by_itself_may_give_files_too(site: Site) -> None:
    def bare(url: str) -> dict[str, Any]:
        return {"url": url, "file": Download("/doc/1.pdf")}

    (item,) = crawler.run(bare, urls=f"{site.url}/0").items
    assert item["file"]["bytes"] == len(b"%PDF-1.7 0")
    assert [path for path, _ in site.asked if path != "/robots.txt"] == ["/doc/1.pdf"]


@pytest.mark.usefixtures("tmp_cwd")
def test_cookies_go_to_files_as_to_pages(site: Site) -> None:
    seen: list[str | None] = []
    answer = site.answer

    def note(path: str, asked: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if path == "/doc/1.pdf":
            seen.append(asked.get("Cookie"))
        return answer(path, asked)

    site.answer = note  # type: ignore[method-assign]
    status, headers, body = site.answers["/0"]
    site.answers["/0"] = status, {**headers, "Set-Cookie": "sid=1"}, body
    assert one_file(site, "/doc/1.pdf")[0] is not None
    assert seen == ["sid=1"]


@pytest.mark.usefixtures("tmp_cwd")
@pytest.mark.parametrize("typo", [{"images": ["pictrues"]}, {"files": ["pictrues"]}])
def test_a_field_that_no_item_has_is_told_once(
    typo: dict[str, Any], site: Site, album: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(album, site, steps=["select('page')"])
    assert not [text for text in caplog.messages if "no item" in text], "steps come behind files"
    run(album, site, **typo, max_items=2)
    (warning,) = [text for text in caplog.messages if "no item" in text]
    (name,) = typo
    assert warning.startswith(f"{name}: no item has the field pictrues; the first one has page, ")


def test_fields_that_were_there_before_a_resume_are_not_told(
    tmp_cwd: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def rare(url: str) -> dict[str, None]:
        if url.endswith("/3"):
            raise ValueError(url)
        return {"paper": None} if url.endswith("/1") else {}

    urls = [f"https://x.test/{number}" for number in range(1, 9)]
    settings: dict[str, Any] = {"files": ["paper"], "output": "rare.json", "concurrency": 1}
    assert crawler.run(rare, urls=urls, max_failures=1, **settings).exit_code == 6
    resumed = crawler.run(rare, urls=urls, resume=True, **settings)
    assert (resumed.exit_code, len(resumed.items)) == (3, 7)
    assert not [text for text in caplog.messages if "no item" in text]


def test_a_field_that_holds_no_urls_fails_its_page(site: Site) -> None:
    def one(response: Response) -> dict[str, Any]:
        return {"pictures": 5}

    (failure,) = crawler.run(one, urls=f"{site.url}/0", images=["pictures"]).failures
    assert failure["kind"] == "item"
    assert "item['pictures'] is an int" in failure["message"]


def test_without_pillow_a_crawl_with_images_does_not_begin(
    site: Site, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "crawler.thumbnails", raising=False)
    with pytest.raises(UsageError, match=r"the setting images needs PIL: pip install .*\[images\]"):
        run(album, site)
    assert not site.asked


# ---- A real one ----

GIMP_HELP = Path("/usr/share/gimp/2.0/help/zh_CN")
GIMP = """
@spider(images=["pictures"], thumbnails={"small": (75, 75)}, allow="/[^./]+[.]html")
def gimp(response):
    yield {"page": response.url, "pictures": response.css("img::attr(src)").getall()}
    yield from response.follow_all(css="a")
"""


@pytest.mark.skipif(not GIMP_HELP.is_dir(), reason="apt-get install gimp-help-zh-cn")
@pytest.mark.parametrize(("mode", "pages"), [("processes", 80), ("threads", 0)])
def test_a_real_manual_or_a_part_and_then_all_of_it_unchanged(
    tmp_cwd: Path, mode: str, pages: int
) -> None:
    """The whole in one mode: 685 pages with 1,963 pictures, fetched in some ten seconds."""
    file = str(spider_file(tmp_cwd / "gimp.py", GIMP))
    part: dict[str, Any] = {"max_pages": pages} if pages else {}
    with served(GIMP_HELP) as url:
        first = crawler.run(file, urls=f"{url}/index.html", mode=mode, **part)
        second = crawler.run(file, urls=f"{url}/index.html", mode="threads", **part)
    linked, stored_ones = set(), {}
    for item in first.items:
        page = GIMP_HELP / item["page"].removeprefix(f"{url}/")
        sources = re.findall(r'<img\b[^>]*?\bsrc="([^"]+)"', page.read_text(encoding="utf-8"))
        linked |= {(page.parent / unquote(source)).resolve() for source in sources}
        assert len(item["pictures"]) == len(sources)
        for picture in item["pictures"]:
            assert picture is not None
            path = GIMP_HELP / unquote(picture["url"].removeprefix(f"{url}/"))
            stored_ones[path.resolve()] = picture
    assert stored_ones.keys() == linked
    for path, picture in stored_ones.items():
        assert (Path("output") / picture["path"]).read_bytes() == path.read_bytes()
        with Image.open(Path("output") / picture["thumbnails"]["small"]) as small:
            assert max(small.size) <= 75
    assert len(first.items) == (pages or len(list(GIMP_HELP.glob("*.html"))))
    assert not first.failures
    assert first.stats.files == len(linked) > 100
    assert second.items == first.items
    assert second.stats.unchanged_files == len(linked)
    assert second.stats.statuses[304] == len(linked)
    told.append(f"gimp-help-zh-cn: {len(first.items)} pages, {len(linked)} pictures, all there")


# ---- Large ones ----


@pytest.fixture(params=["requests", "aiohttp"])
def make(request: pytest.FixtureRequest) -> Make:
    return make_fetcher if request.param == "requests" else OnLoop


def test_s15_a_large_file_goes_to_the_disk_and_not_into_memory(make: Make, tmp_path: Path) -> None:
    size = 48 * 2**20
    piece = bytes(range(256)) * 256
    with large_file(piece, size // len(piece)) as url:
        fetcher = make(timeout=5, max_body=1_000, user_agent="x")
        tracemalloc.start()
        with FilePart(tmp_path, max_bytes=size, seconds=60) as part:
            exchange = fetcher.fetch(Request(url), into=part)
            stored = part.store(None, None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        with (
            pytest.raises(FetchError, match="the file is larger than 1,000,000 bytes"),
            FilePart(tmp_path, max_bytes=10**6, seconds=60) as part,
        ):
            fetcher.fetch(Request(url), into=part)
        fetcher.close()
    assert exchange.body == b""
    assert stored.size == (tmp_path / stored.sha256).stat().st_size == size
    assert peak < 4 * 2**20
    assert [path.name for path in tmp_path.iterdir()] == [stored.sha256]


def test_a_file_has_a_time_of_its_own(make: Make, tmp_path: Path) -> None:
    """A large one takes longer than a page may, but not for ever."""
    with large_file(b"x", 5, pause=0.1) as url:
        fetcher = make(timeout=0.25, max_body=1_000, user_agent="x")
        with FilePart(tmp_path, max_bytes=9, seconds=5) as part:
            fetcher.fetch(Request(url), into=part)
            assert part.size == 5
        with (
            pytest.raises(FetchError, match=r"the answer was not complete after 0\.3 s"),
            FilePart(tmp_path, max_bytes=9, seconds=0.3) as part,
        ):
            fetcher.fetch(Request(url), into=part)
        fetcher.close()


@contextmanager
def large_file(piece: bytes, pieces: int, pause: float = 0.0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(piece) * pieces))
            self.end_headers()
            try:
                for _ in range(pieces):
                    time.sleep(pause)
                    self.wfile.write(piece)
            except ConnectionError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
