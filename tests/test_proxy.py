"""The setting `proxy`: what it may be, what goes through it, and that nobody reads its password."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crawler
from command_line import crawl, spider_file, start_crawl
from conftest import REPOSITORY
from crawler import demo
from crawler.address import names_private
from crawler.demo import PracticeSite
from crawler.errors import UsageError
from crawler.proxy import Proxy, parse_proxy, without_password
from crawler.settings import Settings, from_environment, resolve
from deadline import wait_until
from proxy_server import ProxyServer

SECRET = "s3cr3t"

TITLES = """
@spider(images=["picture"])
def titles(response):
    yield {"url": response.url, "picture": response.urljoin("/images/a.png")}
    yield from response.follow_all(css="a")
"""

# ---- What it may be ----


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example:3128", Proxy("proxy.example", 3128)),
        (" HTTP://Proxy.Example/ ", Proxy("proxy.example", 80)),
        ("http://[::1]:3128", Proxy("::1", 3128)),
        ("http://me@h:1", Proxy("h", 1, "me")),
        ("http://me:p%40s%3As@h:1", Proxy("h", 1, "me", "p@s:s")),
        ("http://me:p@ss@h:1", Proxy("h", 1, "me", "p@ss")),
        ("none", None),
        (None, None),
        (Proxy("h", 1), Proxy("h", 1)),
    ],
)
def test_urls_of_proxies(text: object, proxy: Proxy | None) -> None:
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"socks5://me:{SECRET}@h:1", "socks5:// is not supported, only http:// proxies are"),
        (f"https://me:{SECRET}@h:1", "https:// is not supported, only http:// proxies are"),
        (f"me:{SECRET}@h:1", "it is no URL; write http://HOST:PORT"),
        (f"{SECRET}/{SECRET}://h", "that is not supported"),
        (f"http://me:{SECRET}@", "it is no URL of a proxy"),
        (f"http://me:{SECRET}@h:port", "it is no URL of a proxy"),
        (f"http://me:{SECRET}@h:99999", "it is no URL of a proxy"),
        (f"http://me:{SECRET}/x@h:1", "it is no URL of a proxy"),
        (f"http://me:{SECRET}#x@h:1", "it is no URL of a proxy"),
        (f"http://me:{SECRET}\n@h:1", "it is no URL of a proxy"),
        (f"http://me:{SECRET}w\xf6rd@h:1", "is written %XX"),
        (f"http://me:{SECRET}@[h:1", "it is no URL of a proxy"),
        ("http://h:1/path", "it is no URL of a proxy"),
        (f"http://m%3Ae:{SECRET}@h:1", "a user with a colon"),
        ("http://me:***@h:1", "its password isn't kept with the run; give --proxy again"),
        ("", "it is no URL"),
        (8080, "an int is no URL"),
    ],
)
def test_what_is_none_is_refused_without_showing_a_password(text: object, problem: str) -> None:
    with pytest.raises(UsageError, match=r"^proxy: ") as caught:
        resolve([("--proxy", {"proxy": text})])
    assert problem in str(caught.value)
    assert "(from --proxy)" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_password_is_shown_by_nothing_that_shows_a_proxy() -> None:
    proxy = parse_proxy(f"http://me:{SECRET}@h:1")
    settings = Settings(proxy=proxy)
    assert str(proxy) == settings.as_json()["proxy"] == "http://me:***@h:1"
    assert SECRET not in repr(proxy) + repr(settings)
    assert str(parse_proxy("http://me@h:1")) == "http://me@h:1"
    assert str(parse_proxy("http://[::1]:1")) == "http://[::1]:1"


def test_a_stronger_place_may_take_it_back() -> None:
    layers = [("crawl.toml", {"proxy": "http://h:1"}), *from_environment({"CRAWL_PROXY": "none"})]
    assert resolve(layers).proxy is None


@given(st.text(), st.text(min_size=1))
def test_whatever_is_given_its_password_comes_into_no_error(user: str, password: str) -> None:
    told = ""
    try:
        parse_proxy(f"http://{user}:{password}{SECRET}{password}@h:1")
    except ValueError as error:
        told = str(error)
    assert SECRET not in told


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@h:1", "http://me:***@h:1"),
        ("--proxy=http://me:se@cret@h:1/x", "--proxy=http://me:***@h:1/x"),
        ("http://h/{1..2}?at=12:30&by=me@x", "http://h/{1..2}?at=12:30&by=me@x"),
        ("http://h:80/a:b@c", "http://h:80/a:b@c"),
        ("a http://me:secret@h and http://u:pw@i", "a http://me:***@h and http://u:***@i"),
    ],
)
def test_passwords_are_taken_out_of_texts(text: str, shown: str) -> None:
    assert without_password(text) == shown


@pytest.mark.parametrize(
    ("host", "is_private"),
    [
        ("127.1", True),
        ("0x7f.1", True),
        ("017700000001", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("[::1]", True),
        ("fe80::1%eth0", True),
        ("8.8.8.8", False),
        ("2001:4860:4860::8888", False),
        ("localhost.example", False),
        ("10.example", False),
        ("", False),
        ("a\0b", False),
    ],
)
def test_hosts_that_say_that_they_are_private(host: str, is_private: bool) -> None:
    assert names_private(host) is is_private


# ---- A crawl through it ----


def written(folder: Path) -> str:
    """All that stands in any file."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return "\n".join(path.read_bytes().decode("latin-1") for path in files)


@pytest.mark.parametrize("mode", ["threads", "async", "processes"])
def test_pages_robots_and_pictures_go_through_the_proxy(
    tmp_cwd: Path, site: PracticeSite, mode: str
) -> None:
    spider_file(tmp_cwd / "titles.py", TITLES)
    names = {"site.example": "127.0.0.1"}
    url = site.url.replace("127.0.0.1", "site.example")
    with ProxyServer(names=names, credentials=f"me:{SECRET}") as proxy:
        place = proxy.url.replace("://", f"://me:{SECRET}@")
        arguments = ["titles.py", "--urls", f"{url}/html/titled", "--mode", mode, "-j", "2"]
        done = crawl("run", *arguments, CRAWL_PROXY=place)
    assert done.returncode == 0, done.stderr
    (item,) = json.loads(Path("output/titles.json").read_text(encoding="utf-8"))
    assert item["picture"]["path"]
    wanted = {f"GET {url}/{path}" for path in ("html/titled", "robots.txt", "images/a.png")}
    assert set(proxy.targets) == wanted


@pytest.mark.parametrize("mode", ["threads", "async"])
def test_t9_the_password_of_a_proxy_is_written_nowhere(
    tmp_cwd: Path, site: PracticeSite, mode: str
) -> None:
    spider_file(tmp_cwd / "titles.py", TITLES)
    url = f"{site.url}/html/titled"
    said = []
    with ProxyServer(credentials="me:another") as proxy:
        place = proxy.url.replace("://", f"://me:{SECRET}@")
        options = ["--retries", "1", "--mode", mode, "-vv"]
        for given in (
            ["--proxy", place],
            [f"--proxy={place.replace(proxy.url[7:], '127.0.0.1:9')}"],
        ):
            said.append(crawl("run", "titles.py", "--urls", url, *options, *given))
    said += [crawl("runs"), crawl("why", url)]
    said.append(crawl("run", "titles.py", "--proxy", f"socks4://me:{SECRET}@h"))
    assert [done.returncode for done in said] == [3, 3, 0, 0, 2]
    assert f"the proxy {proxy.url} doesn't take the user and password" in said[0].stderr
    assert "the proxy http://127.0.0.1:9 can't be reached" in said[1].stderr
    everything = written(tmp_cwd) + "".join(done.stdout + done.stderr for done in said)
    assert "me:***@127.0.0.1" in everything
    assert SECRET not in everything
    first = min(Path("output/runs/titles").glob("2*"))
    failure = json.loads((first / "failed.jsonl").read_text(encoding="utf-8"))
    assert (failure["kind"], failure["message"][-5:]) == ("proxy", "(407)")
    command = json.loads((first / "run.json").read_text(encoding="utf-8"))["command"]
    assert proxy.url.replace("://", "://me:***@") in command


def test_a_run_is_resumed_through_the_proxy_when_it_is_told_the_password(
    tmp_cwd: Path, site: PracticeSite
) -> None:
    spider_file(tmp_cwd / "titles.py", TITLES)
    with ProxyServer(credentials=f"me:{SECRET}") as proxy:
        place = proxy.url.replace("://", f"://me:{SECRET}@")
        urls = ["--urls", f"{site.url}/html/titled?text={{1..3}}"]
        stopped = crawl("run", "titles.py", *urls, "--proxy", place, "--max-bytes", "1", "-j", "1")
        assert stopped.returncode == 6, stopped.stderr
        refused = crawl("resume", "--max-bytes", "999999")
        assert refused.returncode == 2
        assert "its password isn't kept with the run; give --proxy again" in refused.stderr
        before = len(proxy.seen)
        done = crawl("resume", "--max-bytes", "999999", CRAWL_PROXY=place)
        assert done.returncode == 0, done.stderr
    assert len(proxy.seen) > before
    assert "changed since then: the setting proxy" not in done.stderr
    assert SECRET not in written(tmp_cwd)


@pytest.mark.parametrize("mode", ["threads", "async"])
def test_t1_links_to_private_addresses_are_not_followed_behind_a_proxy(
    tmp_cwd: Path, site: PracticeSite, mode: str
) -> None:
    """Neither as links nor by redirects; where the crawl starts the user knows."""
    spider_file(tmp_cwd / "titles.py", TITLES)
    url = site.url.replace("127.0.0.1", "site.example")
    port = site.url.rpartition(":")[2]
    inside = [f"http://{host}:{port}/empty" for host in ("127.0.0.1", "0x7f000001", "localhost")]
    with ProxyServer(names={"site.example": "127.0.0.1"}) as proxy:
        found = [
            crawler.run(
                f"{tmp_cwd / 'titles.py'}",
                urls=[f"{url}/html/titled?text={target}", f"{url}/redirect-to?url={target}"],
                mode=mode,
                allow_hosts=["*"],
                proxy=proxy.url,
                retries=0,
            )
            for target in inside
        ]
    kinds = [sorted(failure["kind"] for failure in result.failures) for result in found]
    assert all("address" in each for each in kinds), kinds
    assert not [target for target in proxy.targets if "site.example" not in target]


def test_f35_a_proxy_that_is_away_for_a_while_costs_no_page(tmp_cwd: Path) -> None:
    spider_file(tmp_cwd / "titles.py", "@spider()\ndef titles(response):\n    return {}\n")
    with demo.start(port=0, jitter=0.1) as site:
        with ProxyServer() as proxy:
            urls = f"{site.url}/html/titled?text={{1..200}}"
            process = start_crawl("run", "titles.py", "--urls", urls, "--proxy", proxy.url)
            wait_until(partial(has_seen, proxy, 20))
        time.sleep(2)
        with ProxyServer(port=proxy.port):
            _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert f"can't be reached any more (the proxy {proxy.url} can't be reached: " in said
    assert "answers again" in said


def has_seen(proxy: ProxyServer, times: int) -> bool:
    return len(proxy.seen) >= times


def test_the_practice_site_that_stands_in_for_a_site_is_asked_without_it(tmp_cwd: Path) -> None:
    spider = str(REPOSITORY / "spiders" / "qiushibaike.py")
    done = crawl("run", spider, "--pages", "1", CRAWL_PROXY="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr


# ---- What is said of it ----


def test_a_spider_that_fetches_by_itself_is_told_that_the_proxy_is_not_for_it(
    tmp_cwd: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = crawler.run(own_fetch, urls=["http://x.test/"], proxy="http://127.0.0.1:9")
    assert len(result.items) == 1
    assert "fetches by itself, so its requests don't go through the proxy" in caplog.text


def own_fetch(url: str) -> dict[str, str]:
    return {"url": url}


@pytest.mark.parametrize(
    ("options", "is_told"), [([], True), (["--proxy", "http://127.0.0.1:9"], False)]
)
def test_a_crawl_without_any_page_reminds_of_the_environments_proxy(
    tmp_cwd: Path, options: list[str], is_told: bool
) -> None:
    spider_file(tmp_cwd / "titles.py", TITLES)
    urls = ["--urls", "http://127.0.0.1:9/", "--retries", "0"]
    done = crawl("run", "titles.py", *urls, *options, https_proxy=f"http://me:{SECRET}@h:1")
    assert done.returncode == 3
    hint = 'the proxy of https_proxy was not asked: --proxy "$https_proxy" does'
    assert (hint in done.stderr) is is_told
    assert SECRET not in done.stderr + written(tmp_cwd)
