"""One exchange over real sockets: what comes back, and how each way to fail is told."""

from __future__ import annotations

import asyncio
import errno
import gc
import gzip
import json
import re
import socket
import ssl
import threading
import time
import tracemalloc
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import requests.adapters

from crawler import Request, demo
from crawler.demo import PracticeSite
from crawler.errors import FetchError
from crawler.fetchers import Exchange, Fetcher, make_async_fetcher, make_fetcher
from crawler.fetchers.aiohttp import AiohttpFetcher
from crawler.fetchers.requests import RequestsFetcher
from crawler.proxy import parse_proxy
from crawler.result import Failure
from proxy_server import ProxyServer, TLSFront, certificate

TIMEOUT = 0.3
LIMIT = 2 * 2**20


class OnLoop:
    """An async fetcher, as one that blocks."""

    def __init__(
        self, *, timeout: float, max_body: int, loop_factory: Any = None, **options: Any
    ) -> None:
        self._runner = asyncio.Runner(loop_factory=loop_factory)
        options = {"user_agent": "test/1.0", **options}
        self._fetcher = self._runner.run(self._make(timeout, max_body, options))

    async def _make(self, timeout: float, max_body: int, options: Any) -> AiohttpFetcher:
        fetcher = make_async_fetcher(timeout=timeout, max_body=max_body, **options)
        assert isinstance(fetcher, AiohttpFetcher)
        return fetcher

    def fetch(self, request: Request, **options: Any) -> Exchange:
        return self._runner.run(self._fetcher.fetch(request, **options))

    def forget(self) -> None:
        """Let aiohttp read the next answer, whatever its host has answered before."""
        self._fetcher.sloppy.clear()

    def close(self) -> None:
        self._runner.close()


Make = Callable[..., Fetcher]


@pytest.fixture(scope="module", params=["requests", "aiohttp"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes fetchers of one kind; what a spider or a server can see must be the same of both."""
    return make_fetcher if request.param == "requests" else OnLoop


@pytest.fixture(scope="module")
def fetcher(make: Make) -> Iterator[Fetcher]:
    """One fetcher for all tests: what one of them leaves behind, the next would trip over."""
    fetcher = make(timeout=TIMEOUT, max_body=LIMIT, user_agent="test/1.0")
    yield fetcher
    fetcher.close()


@pytest.fixture
def fetch(fetcher: Fetcher, site: PracticeSite) -> Callable[..., Exchange]:
    """Fetches a path of the practice site, or a whole URL."""

    def fetch(where: str, method: str = "GET", **fields: Any) -> Exchange:
        url = site.url + where if where.startswith("/") else where
        if isinstance(fetcher, OnLoop):
            fetcher.forget()
        return fetcher.fetch(Request(url, method, **fields))

    return fetch


@pytest.fixture
def failure(fetch: Callable[..., Exchange]) -> Callable[..., Failure]:
    """How the fetch fails; afterwards the same fetcher must get the right answer to the next."""

    def failure(where: str, **fields: Any) -> Failure:
        with pytest.raises(FetchError) as caught:
            fetch(where, **fields)
        assert echo(fetch("/echo?after"))["target"] == "/echo?after"
        return caught.value.failure

    return failure


def echo(exchange: Exchange) -> dict[str, Any]:
    """The request as the server saw it, with headers as a dict."""
    seen: dict[str, Any] = json.loads(exchange.body)
    seen["headers"] = dict(seen["headers"])
    return seen


class Script:
    """A server that answers each request with the next of these bytes, then closes."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = deque(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, suppress(ConnectionError):  # whoever asked may have had enough
                while self._answers and connection.recv(65536):
                    connection.sendall(self._answers.popleft())

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes up accept()
        self._listener.close()
        self._thread.join()


def answer(body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


# ---- What goes out ----


def test_a_request_is_honest_about_who_asks(fetch: Callable[..., Exchange]) -> None:
    seen = echo(fetch("/echo"))
    assert (seen["method"], seen["headers"]["user-agent"]) == ("GET", "test/1.0")
    assert seen["headers"]["accept-encoding"] == "gzip, deflate"
    assert set(seen["headers"]) <= {"host", "user-agent", "accept", "accept-encoding", "connection"}


def test_a_requests_own_headers_win(fetch: Callable[..., Exchange]) -> None:
    seen = echo(fetch("/echo", headers={"User-Agent": "mine/2", "X-Mine": "caf\xe9"}))
    assert seen["headers"]["user-agent"] == "mine/2"
    assert seen["headers"]["x-mine"].encode("latin-1").decode() == "caf\xe9"


def test_a_body_is_sent_as_it_is(fetch: Callable[..., Exchange]) -> None:
    body = bytes(range(128))
    seen = echo(fetch("/echo", "POST", body=body, headers={"Content-Type": "text/plain"}))
    assert (seen["method"], seen["body"]) == ("POST", body.decode())
    assert seen["headers"]["content-length"] == "128"
    assert seen["headers"]["content-type"] == "text/plain"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/echo?a=b&a=%20c#fragment", "/echo?a=b&a=%20c"),
        ("/echo?汉", "/echo?%E6%B1%89"),
        ("/echo?%e6%b1%89", "/echo?%E6%B1%89"),
        ("/echo?q=100%&n=M%C3%BCller", "/echo?q=100%&n=M%C3%BCller"),
        ("/echo?a[]=1|2&b='{}'", "/echo?a[]=1|2&b=%27%7B%7D%27"),
        ("/x\\y/%2e%2E/../echo", "/echo"),
    ],
)
def test_a_url_is_written_as_http_wants_it(
    fetch: Callable[..., Exchange], path: str, target: str
) -> None:
    assert echo(fetch(path))["target"] == target


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Mine": "a\r\nX-Smuggled: b"},
        {"X-Mine": "a\nb"},
        {"X-Mine\r\nX-Smuggled": "a"},
        {"X-Mine": " leading"},
        {"X-Mine": 5},
        {5: "a"},
    ],
)
def test_l18_a_header_that_would_break_the_request_is_refused(
    failure: Callable[..., Failure], headers: dict[Any, Any]
) -> None:
    found = failure("/echo", headers=headers)
    assert (found.kind, found.retryable) == ("protocol", False)


# ---- What comes back ----


@pytest.mark.parametrize(
    ("path", "status", "size"),
    [
        ("/empty", 200, 0),
        ("/no-content", 204, 0),
        ("/status/404", 404, None),
        ("/status/503", 503, None),
        ("/redirect/3", 302, 0),
        ("/partial", 206, None),
        ("/big?mb=1", 200, 2**20),
        ("/chunked/good", 200, len("Hello, world")),
    ],
)
def test_an_answer_is_told_as_it_is(
    fetch: Callable[..., Exchange], path: str, status: int, size: int | None
) -> None:
    exchange = fetch(path)
    assert exchange.status == status
    if size is not None:
        assert len(exchange.body) == size


def test_l8_redirects_are_not_followed(fetch: Callable[..., Exchange]) -> None:
    assert dict(fetch("/redirect/3").headers)["Location"] == "/redirect/2"


def test_headers_come_in_order_and_repeated_ones_stay_apart(
    fetch: Callable[..., Exchange],
) -> None:
    cookies = [v for k, v in fetch("/cookies/set?a=1&b=2").headers if k.lower() == "set-cookie"]
    assert cookies == ["a=1", "b=2"]


def test_header_bytes_are_latin_1(fetch: Callable[..., Exchange]) -> None:
    assert dict(fetch("/bad-redirect/latin-1").headers)["Location"] == "/status/200?caf\xe9"


def test_nothing_of_a_head_request_is_waited_for(fetch: Callable[..., Exchange]) -> None:
    exchange = fetch("/gzip", "HEAD")
    assert (exchange.status, exchange.body) == (200, b"")
    assert int(dict(exchange.headers)["Content-Length"]) > 0


@pytest.mark.parametrize("path", ["/gzip", "/gzip-chain/2", "/deflate", "/deflate?raw=1"])
def test_packed_bodies_are_unpacked(fetch: Callable[..., Exchange], path: str) -> None:
    assert fetch(path).body == fetch("/gzip-chain/0").body


# ---- What is odd and all the same an answer ----


@pytest.mark.parametrize(
    "path",
    [
        "/early-hints",
        "/continue-flood?n=2000",
        "/length/negative",
        "/length/word",
        "/headers/broken",
        "/gzip/trailing",
    ],
)
def test_odd_answers(fetch: Callable[..., Exchange], path: str) -> None:
    exchange = fetch(path)
    assert exchange.status == 200
    assert exchange.body.endswith(b"</html>\n")


@pytest.mark.parametrize(
    "line", ["no colon", "X-A : 1", "Ünïcode: 1", "no colon\r\n folded: 1", ":"]
)
def test_a_header_line_that_is_none_is_left_out_and_no_other(fetcher: Fetcher, line: str) -> None:
    body = gzip.compress(b"page")
    head = f"HTTP/1.1 200 OK\r\nX-First: 1\r\n{line}\r\nContent-Encoding: gzip\r\n"
    wire = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    count = 2 if isinstance(fetcher, OnLoop) else 1  # aiohttp refuses it, and requests is asked
    with Script(*([wire] * count), answer(b"next")) as server:
        exchange = fetcher.fetch(Request(server.url))
        assert exchange.body == b"page"
        assert [name for name, _ in exchange.headers] == [
            "X-First",
            "Content-Encoding",
            "Content-Length",
        ]
        assert fetcher.fetch(Request(server.url)).body == b"next"


def test_h15_an_early_hint_is_not_the_answer_on_a_kept_connection_either(fetcher: Fetcher) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    with Script(hint + hint + answer(b"one"), answer(b"two")) as server:
        assert fetcher.fetch(Request(server.url)).body == b"one"
        assert fetcher.fetch(Request(server.url)).body == b"two"
        assert server.connections == 1


@pytest.mark.parametrize("more", [b"surplus", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake"])
def test_what_follows_a_body_is_not_taken_for_the_next_answer(
    fetcher: Fetcher, more: bytes
) -> None:
    # aiohttp refuses what is no answer, and the page is asked for again.
    count = 2 if isinstance(fetcher, OnLoop) and not more.startswith(b"HTTP") else 1
    one = answer(b"one") + more
    with Script(*([one] * count), answer(b"two")) as server:
        assert fetcher.fetch(Request(server.url + "/1")).body == b"one"
        assert fetcher.fetch(Request(server.url + "/2")).body == b"two"


def test_h2_a_body_that_is_longer_than_it_says_is_cut_there(fetch: Callable[..., Exchange]) -> None:
    assert len(fetch("/length/too-short").body) == 10
    assert echo(fetch("/echo?next"))["target"] == "/echo?next"


# ---- The ways to fail ----

OTHERWISE = {
    "/chunk-size?mb=1": ("truncated",),
    "/chunked/broken": ("truncated", "timeout"),  # it may wait for the rest, as the pieces come
    "/reset?after=500": ("truncated", "connection"),
}
"""What aiohttp tells in another way; all of it is worth another attempt."""


@pytest.mark.parametrize(
    ("path", "kind", "retryable"),
    [
        ("/hang", "timeout", True),
        ("/drip?bytes=100&interval=0.05", "timeout", True),
        ("/slow-headers?n=100&interval=0.05", "timeout", True),
        ("/close", "connection", True),
        ("/reset", "connection", True),
        ("/reset?after=500", "connection", True),
        ("/length/too-long", "truncated", True),
        ("/length/absurd", "truncated", True),
        ("/chunked/broken", "truncated", True),
        ("/chunked/truncated", "truncated", True),
        ("/chunked/without-end", "truncated", True),
        ("/gzip/truncated", "truncated", True),
        ("/gzip/garbage", "decode", False),
        ("/gzip/not-gzip", "decode", False),
        ("/gzip-chain/6", "decode", False),
        ("/gzip-chain/20", "decode", False),
        ("/gzip-bomb?mb=64", "too-large", False),
        ("/endless", "too-large", False),
        ("/big?mb=3", "too-large", False),
        ("/length/twice", "protocol", False),
        ("/chunk-size?mb=1", "protocol", False),
        ("/headers/long?kb=100", "protocol", False),
        ("/headers/many?n=1000", "protocol", False),
        ("/headers/flood?mb=1", "protocol", False),
        ("/not-http/ssh", "protocol", False),
        ("/not-http/no-status-line", "protocol", False),
        ("/not-http/bad-status", "protocol", False),
        ("http://nosuch.invalid/", "dns", None),
        ("http://a..b/", "url", False),
        ("http://x\ud800/", "url", False),
    ],
)
def test_failures_have_a_kind_and_the_next_page_is_fetched_all_the_same(
    fetcher: Fetcher,
    failure: Callable[..., Failure],
    path: str,
    kind: str,
    retryable: bool | None,
) -> None:
    started = time.monotonic()
    found = failure(path)
    if isinstance(fetcher, OnLoop) and path in OTHERWISE:
        assert found.kind in OTHERWISE[path]
        assert found.retryable
        return
    assert found.kind == kind
    if retryable is not None:
        assert found.retryable is retryable
    assert found.message
    assert "object at 0x" not in found.message
    assert time.monotonic() - started < 2 * TIMEOUT + 5


def test_a_failure_leaves_no_socket_open(failure: Callable[..., Failure]) -> None:
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for path in ("/length/twice", "/headers/long", "/not-http/ssh", "/endless", "/reset"):
            failure(path)
        gc.collect()
    assert [str(each.message) for each in caught] == []


def test_a_port_where_nobody_listens(failure: Callable[..., Failure]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        found = failure(f"http://127.0.0.1:{nobody.getsockname()[1]}/")
    assert (found.kind, found.retryable) == ("connection", True)
    assert "ConnectionRefusedError" in found.message


def test_a_certificate_that_nobody_vouches_for(make: Make, tmp_path: Path) -> None:
    _, context = certificate(tmp_path, "localhost")
    fetcher = make(timeout=5, max_body=LIMIT, user_agent="test/1.0")

    def refuse_politely(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse_politely, args=[listener])
        thread.start()
        with pytest.raises(FetchError, match="certificate verify failed") as caught:
            fetcher.fetch(Request(f"https://localhost:{listener.getsockname()[1]}/"))
        thread.join()
    fetcher.close()
    assert (caught.value.failure.kind, caught.value.failure.retryable) == ("tls", False)


def test_tls_where_there_is_none(failure: Callable[..., Failure]) -> None:
    with Script(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        found = failure(server.url.replace("http:", "https:"))
    assert (found.kind, found.retryable) == ("tls", False)


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "dns", False),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "dns", True),
    ],
)
def test_a_name_server_that_is_away_may_come_back(
    failure: Callable[..., Failure],
    site: PracticeSite,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    kind: str,
    retryable: bool,
) -> None:
    real = socket.getaddrinfo

    def resolve(host: str, *rest: Any) -> Any:
        if host == "away.example":
            raise error
        return real(host, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = failure("http://away.example/")
    assert (found.kind, found.retryable) == (kind, retryable)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EHOSTUNREACH, "connection"),
        (errno.ENETUNREACH, "connection"),
        (errno.EACCES, "connection"),
        (errno.EINVAL, "connection"),
        (errno.ETIMEDOUT, "timeout"),
    ],
    ids=errno.errorcode.get,
)
def test_a_way_that_is_closed_is_a_failure_whatever_the_system_calls_it(
    failure: Callable[..., Failure], monkeypatch: pytest.MonkeyPatch, number: int, kind: str
) -> None:
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if address[1] == 9:
            raise OSError(number, "closed")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    found = failure("http://127.0.0.1:9/")
    assert (found.kind, found.retryable) == (kind, True)


@pytest.mark.parametrize("error", [RuntimeError("odd"), MemoryError(), RecursionError("deep")])
def test_an_error_nobody_thought_of_is_a_failure_too(
    fetch: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", fail)
    monkeypatch.setattr(aiohttp.ClientSession, "request", fail)
    with pytest.raises(FetchError) as caught:
        fetch("/empty")
    assert caught.value.failure.kind == "connection"
    assert type(error).__name__ in caught.value.failure.message


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/gzip-bomb?mb=256", "too-large: the page "),
        ("/endless", "too-large: the page is larger than 2,097,152 bytes"),
        ("/length/absurd", "truncated: "),
        ("/headers/flood?mb=300", "protocol: HTTPException: "),
        ("/chunk-size?mb=200", "protocol: |truncated: |timeout: "),
    ],
    ids=["h8_s9_gzip_bomb", "h9_endless", "l12_length", "h14_header_flood", "l11_chunk_size"],
)
def test_memory_stays_small_whatever_is_sent(
    fetch: Callable[..., Exchange], path: str, outcome: str
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FetchError, match=outcome):
            fetch(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_l10_a_bomb_in_a_redirect_is_not_unpacked(
    fetch: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.fetchers.requests.ContentDecoder", None)
    monkeypatch.setattr("crawler.fetchers.aiohttp.ContentDecoder", None)
    exchange = fetch("/redirect-bomb?mb=256")
    assert (exchange.status, exchange.body) == (302, b"")
    assert dict(exchange.headers)["Location"] == "/empty"
    monkeypatch.undo()
    assert echo(fetch("/echo?after"))["target"] == "/echo?after"


@pytest.mark.parametrize("body", [b"", b"moved", b"x" * 100_000])
def test_a_redirects_body_is_left_out_whatever_is_wrong_with_it(
    fetcher: Fetcher, body: bytes
) -> None:
    head = (
        b"HTTP/1.1 302 Found\r\nLocation: /2\r\nContent-Encoding: br\r\nContent-Length: %d\r\n\r\n"
    )
    with Script(head % len(body) + body, answer(b"two")) as server:
        assert fetcher.fetch(Request(server.url + "/1")).body == b""
        assert fetcher.fetch(Request(server.url + "/2")).body == b"two"
        if isinstance(fetcher, RequestsFetcher):  # aiohttp may have received all of it by then
            assert server.connections == (2 if len(body) > 65_536 else 1)
    with Script(head % (len(body) + 1) + body) as server:  # cut off
        assert fetcher.fetch(Request(server.url)).status == 302


# ---- The time for all of it ----


class Drip:
    """A server that sends some bytes, then more one by one for ever, to each connection."""

    def __init__(self, at_once: bytes, one_by_one: bytes, interval: float = 0.02) -> None:
        self._start, self._rest, self._interval = at_once, one_by_one, interval
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(self._start)
                    for byte in cycle(self._rest):
                        time.sleep(self._interval)
                        connection.sendall(bytes([byte]))

    def __enter__(self) -> Drip:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("at_once", "one_by_one"),
    [
        (b"", b"HTTP/1.1"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK, b"X-Slow: yes\r\n"),
        (OK + b"\r\n", b"x"),
        (CHUNKS, b"1\r\na\r\n"),
        (CHUNKS + b"1;", b"note"),
        (CHUNKS + b"0\r\n", b"X-Trailer: yes\r\n"),
    ],
    ids=["status line", "100", "headers", "body", "chunks", "chunk size", "trailers"],
)
def test_h10_bytes_that_come_one_by_one_have_no_more_time_than_others(
    fetcher: Fetcher, at_once: bytes, one_by_one: bytes
) -> None:
    with Drip(at_once, one_by_one) as server, pytest.raises(FetchError) as caught:
        fetcher.fetch(Request(server.url))
    what = "the answer was not complete"
    if isinstance(fetcher, OnLoop):  # it tells of an answer when it has all headers
        what = f"(no answer|{what})"
    failure = caught.value.failure
    assert (failure.kind, failure.retryable) == ("timeout", True)
    assert re.fullmatch(f"TimeoutError: {what} after 0.3 s", failure.message)


def test_h11_a_server_that_never_answers(fetcher: Fetcher) -> None:
    with Drip(b"", b"x", interval=0.5) as server, pytest.raises(FetchError) as caught:
        fetcher.fetch(Request(server.url))
    assert caught.value.failure.message == "TimeoutError: no answer after 0.3 s"


def test_a_request_that_nobody_takes_runs_out_of_time(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        with pytest.raises(FetchError) as caught:
            fetcher.fetch(Request(url, "POST", body=bytes(64 * 2**20)))
    assert caught.value.failure.kind == "timeout"


def test_the_time_to_connect_is_shared_by_all_addresses(
    fetcher: Fetcher, site: PracticeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead address must not take the time of a good one after it."""
    if isinstance(fetcher, OnLoop):
        pytest.skip("aiohttp dials the next one after a quarter of a second, beside the first")
    port = int(site.url.rpartition(":")[2])
    addresses = [(f"203.0.113.{n}", port) for n in (1, 2)] + [("127.0.0.1", port)]
    connect, allowed = socket.socket.connect, []

    def slow(self: socket.socket, address: Any) -> None:
        allowed.append(self.gettimeout() or 0.0)
        if address[0] != "127.0.0.1":
            raise TimeoutError("timed out")
        connect(self, address)

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    monkeypatch.setattr(socket.socket, "connect", slow)
    assert fetcher.fetch(Request(f"http://many.example:{port}/empty")).status == 200
    assert allowed[0] <= TIMEOUT / 3 < allowed[2] <= TIMEOUT

    del found[2]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(Request(f"http://dead.example:{port}/empty"))
    assert caught.value.failure.message == "TimeoutError: no connection after 0.3 s"


# ---- The bytes for all of it ----


@pytest.mark.parametrize(
    ("start", "more", "kind"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\nX: " + b"y" * 60_000 + b"\r\n\r\n", "protocol"),
        (OK, b"X: " + b"y" * 60_000 + b"\r\n", "protocol"),
        (CHUNKS + b"0\r\n", b"X-Trailer: yes\r\n" * 1000, "too-large"),
        (CHUNKS, b"1;" + b"x" * 60_000 + b"\r\na\r\n", "too-large"),
    ],
    ids=["h16_1xx", "h14_headers", "trailers", "chunk_sizes"],
)
def test_what_is_no_body_is_limited_too(make: Make, start: bytes, more: bytes, kind: str) -> None:
    is_strict = make is OnLoop
    fetcher = make(timeout=TIMEOUT if is_strict else 20, max_body=LIMIT, user_agent="test/1.0")
    flood = start + more * (12 * 2**20 // len(more))
    with Script(flood, flood) as server, pytest.raises(FetchError) as caught:
        fetcher.fetch(Request(server.url))
    fetcher.close()
    if is_strict:  # of most of that only its time is limited
        assert caught.value.failure.kind in (kind, "timeout", "truncated")
    else:
        assert (caught.value.failure.kind, caught.value.failure.retryable) == (kind, False)


def test_headers_of_200_kilobytes_are_taken(fetcher: Fetcher) -> None:
    headers = [f"X-{number}: {'y' * 50_000}" for number in range(4)]
    with Script(answer(b"page" * 10_000, *headers)) as server:
        assert len(fetcher.fetch(Request(server.url)).body) == 40_000


# ---- Private addresses ----


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and the addresses they have; others are looked up as usual. `asked` counts."""
    known: dict[str, list[str]] = {"asked": []}
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: Any) -> Any:
        known["asked"].append(host)
        if host not in known:
            return real(host, port, *rest)
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, 1, 6, "", (address, port))
            for address in known[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were connected to; one outside this machine is refused."""
    connect = socket.socket.connect
    to: list[str] = []

    def watch(self: socket.socket, address: Any) -> None:
        to.append(address[0])
        if not address[0].startswith("127."):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watch)
    return to


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.2",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "169.254.169.254",
        "100.64.0.1",
        "10.0.0.1",
        "[fd00:ec2::254]",
    ],
)
def test_t1_t3_no_private_address_is_dialled_however_it_is_written(
    fetcher: Fetcher, site: PracticeSite, dialled: list[str], host: str
) -> None:
    port = site.url.rpartition(":")[2]
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(Request(f"http://{host}:{port}/empty"), private=False)
    assert (caught.value.failure.kind, caught.value.failure.retryable) == ("address", False)
    assert "a private address" in caught.value.failure.message
    assert dialled == []


def test_t2_a_name_is_looked_up_once_and_only_its_public_addresses_are_dialled(
    fetcher: Fetcher, names: dict[str, list[str]], dialled: list[str]
) -> None:
    names["mixed.example"] = ["127.0.0.1", "1.1.1.1", "::1"]
    with pytest.raises(FetchError, match="connection: "):
        fetcher.fetch(Request("http://mixed.example:9/"), private=False)
    assert (set(dialled), names["asked"]) == ({"1.1.1.1"}, ["mixed.example"])


def test_t2_a_name_that_moves_to_this_machine_is_not_followed_there(
    fetcher: Fetcher, names: dict[str, list[str]], dialled: list[str]
) -> None:
    is_remembered = isinstance(fetcher, OnLoop)  # for a minute
    then = "connection" if is_remembered else "address"
    for address, kind in (("1.1.1.1", "connection"), ("127.0.0.1", then)):
        names["moving.example"] = [address]
        with pytest.raises(FetchError, match=f"{kind}: "):
            fetcher.fetch(Request("http://moving.example:9/"), private=False)
    assert dialled == ["1.1.1.1"] * (2 if is_remembered else 1)


def test_t2_a_connection_that_was_kept_is_judged_too(
    fetcher: Fetcher, names: dict[str, list[str]], site: PracticeSite
) -> None:
    url = site.url.replace("127.0.0.1", "intern.example") + "/echo"
    names["intern.example"] = ["127.0.0.1"]
    exchange = fetcher.fetch(Request(url), private=True)
    assert exchange.is_private
    assert echo(exchange)["headers"]["host"].startswith("intern.example:")
    with pytest.raises(FetchError, match="address: "):
        fetcher.fetch(Request(url), private=False)
    assert fetcher.fetch(Request(url), private=True).status == 200


def test_t2_tls_asks_for_the_name_though_the_address_was_chosen(
    fetcher: Fetcher, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[Any] = []
    wrap, wrap_buffers = ssl.SSLContext.wrap_socket, ssl.SSLContext.wrap_bio

    def watch(self: ssl.SSLContext, *args: Any, **options: Any) -> Any:
        named.append(options.get("server_hostname"))
        return wrap(self, *args, **options)

    def watch_buffers(self: ssl.SSLContext, *args: Any, **options: Any) -> Any:
        named.append(options.get("server_hostname"))
        return wrap_buffers(self, *args, **options)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", watch)
    monkeypatch.setattr(ssl.SSLContext, "wrap_bio", watch_buffers)
    names["intern.example"] = ["127.0.0.1"]
    with Script(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        port = server.url.rpartition(":")[2]
        with pytest.raises(FetchError, match="tls: "):
            fetcher.fetch(Request(f"https://intern.example:{port}/"))
    assert named == ["intern.example"]


# ---- Connections, and what is not remembered ----


@pytest.fixture
def alone() -> Iterator[PracticeSite]:
    """A practice site that nobody else asks."""
    with demo.start(port=0) as started:
        yield started


def test_connections_are_kept_and_one_is_enough(make: Make, alone: PracticeSite) -> None:
    fetcher = make(timeout=5, max_body=LIMIT, user_agent="test/1.0")
    try:
        for path in ("/empty", "/gzip", "/big?mb=1", "/status/404", "/redirect/1", "/no-content"):
            fetcher.fetch(Request(alone.url + path))
            fetcher.fetch(Request(alone.url + "/echo", "POST", body=b"x"))
        stats = json.loads(fetcher.fetch(Request(alone.url + "/stats")).body)
        assert (stats["connections"], stats["requests"]) == (1, 12)
    finally:
        fetcher.close()


def test_cookies_are_not_sent_back(fetch: Callable[..., Exchange]) -> None:
    fetch("/cookies/set?taste=sweet")
    assert json.loads(fetch("/cookies").body) == {}


def test_l1_s7_neither_environment_nor_netrc_has_a_say(
    fetch: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login reader password practice\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere"))
    assert "authorization" not in echo(fetch("/echo"))["headers"]
    assert fetch("/basic-auth").status == 401


def test_credentials_in_a_url_are_sent_to_its_host(
    fetch: Callable[..., Exchange], site: PracticeSite
) -> None:
    url = site.url.replace("http://", "http://reader:practice@")
    assert fetch(f"{url}/basic-auth").status == 200
    assert fetch("/basic-auth").status == 401


def test_the_fetcher_of_a_seat_is_the_one_for_requests() -> None:
    fetcher = make_fetcher(timeout=1, max_body=1, user_agent="test/1.0")
    assert isinstance(fetcher, RequestsFetcher)
    fetcher.close()
    fetcher.close()


def test_so_many_answers_before_the_answer_are_too_many(
    failure: Callable[..., Failure], fetcher: Fetcher
) -> None:
    if isinstance(fetcher, OnLoop):
        pytest.skip("aiohttp counts none; the time for an answer bounds them")
    found = failure("/continue-flood?n=2001")
    assert (found.kind, found.retryable) == ("protocol", False)


def test_a_host_that_is_not_for_strict_parsers_costs_one_more_request(
    fetcher: Fetcher, alone: PracticeSite
) -> None:
    for _ in range(3):
        assert fetcher.fetch(Request(alone.url + "/headers/broken")).status == 200
    assert json.loads(fetcher.fetch(Request(alone.url + "/stats")).body)["requests"] == (
        4 if isinstance(fetcher, OnLoop) else 3
    )


def test_what_may_change_something_is_not_sent_twice(make: Make, alone: PracticeSite) -> None:
    fetcher = make(timeout=5, max_body=LIMIT, user_agent="test/1.0")
    try:
        with suppress(FetchError):
            fetcher.fetch(Request(alone.url + "/headers/broken", "POST", body=b"x"))
        assert json.loads(fetcher.fetch(Request(alone.url + "/stats")).body)["requests"] == 1
    finally:
        fetcher.close()


def test_connections_to_more_hosts_than_can_be_kept_are_closed(
    make: Make, alone: PracticeSite, names: dict[str, list[str]]
) -> None:
    port = alone.url.rpartition(":")[2]
    fetcher = make(timeout=5, max_body=LIMIT, user_agent="test/1.0", hosts_kept=4)
    me = psutil.Process()
    try:
        before = me.num_fds()
        for number in range(40):
            name = f"host-{number}.example"
            names[name] = ["127.0.0.1"]
            fetcher.fetch(Request(f"http://{name}:{port}/empty"))
            assert me.num_fds() - before <= 2 * 12  # the practice site's ends are in this process
    finally:
        fetcher.close()


# ---- Through a proxy ----

SECRET = "pass%3Aw%C3%B6rd"
PLAIN_SECRET = "pass:w\xf6rd"


@pytest.fixture
def through(make: Make) -> Iterator[Callable[..., Fetcher]]:
    """Makes fetchers that go through a proxy, of which the URL is given."""
    made: list[Fetcher] = []

    def through(url: str, timeout: float = 5) -> Fetcher:
        proxy = parse_proxy(url)
        made.append(make(timeout=timeout, max_body=LIMIT, user_agent="test/1.0", proxy=proxy))
        return made[-1]

    yield through
    for fetcher in made:
        fetcher.close()


@pytest.fixture(scope="module")
def secure(
    site: PracticeSite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TLSFront, Path]]:
    """The practice site behind TLS, and the certificate that makes it trusted."""
    cert, context = certificate(tmp_path_factory.mktemp("tls"), "localhost", "site.example")
    with TLSFront(site.url, context) as front:
        yield front, cert


@pytest.fixture
def secure_site(secure: tuple[TLSFront, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """Its URL; both fetchers trust it."""
    front, cert = secure
    monkeypatch.setattr("certifi.where", lambda: str(cert))
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(cert))
    return front.url


def with_password(proxy: ProxyServer, credentials: str = f"me:{SECRET}") -> str:
    return proxy.url.replace("://", f"://{credentials}@")


def failed(fetcher: Fetcher, url: str, **options: Any) -> Failure:
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(Request(url), **options)
    return caught.value.failure


def test_http_goes_through_a_proxy_with_its_whole_url(
    through: Callable[..., Fetcher], site: PracticeSite
) -> None:
    with ProxyServer() as proxy:
        fetcher = through(proxy.url)
        seen = echo(fetcher.fetch(Request(site.url + "/echo?a=%20b#c", headers={"X-Mine": "1"})))
        posted = echo(fetcher.fetch(Request(site.url + "/echo", "POST", body=b"body")))
    assert proxy.targets == [f"GET {site.url}/echo?a=%20b", f"POST {site.url}/echo"]
    assert (seen["target"], seen["headers"]["x-mine"]) == ("/echo?a=%20b", "1")
    assert seen["headers"]["host"] == site.url.removeprefix("http://")
    assert seen["headers"]["user-agent"] == "test/1.0"
    assert posted["body"] == "body"


def test_https_goes_through_a_tunnel_of_which_the_proxy_sees_the_host_only(
    through: Callable[..., Fetcher], secure_site: str
) -> None:
    with ProxyServer(names={"site.example": "127.0.0.1"}) as proxy:
        fetcher = through(proxy.url)
        url = secure_site.replace("127.0.0.1", "site.example")  # only the proxy knows that name
        seen = echo(fetcher.fetch(Request(url + "/echo?secret", headers={"X-Mine": "1"})))
    place = url.removeprefix("https://")
    assert proxy.targets == [f"CONNECT {place}"]
    assert proxy.seen[0].headers["host"] == place
    assert proxy.seen[0].headers["user-agent"] == "test/1.0"
    assert "x-mine" not in proxy.seen[0].headers
    assert (seen["target"], seen["headers"]["host"]) == ("/echo?secret", place)


def test_s6_l3_the_password_is_for_the_proxy_alone(
    through: Callable[..., Fetcher], site: PracticeSite, secure_site: str
) -> None:
    with ProxyServer(credentials=f"me:{PLAIN_SECRET}") as proxy:
        fetcher = through(with_password(proxy))
        for url in (site.url, secure_site):
            for _ in range(2):  # also on a connection that was kept
                seen = echo(fetcher.fetch(Request(url + "/echo")))
                assert "proxy-authorization" not in seen["headers"]
                assert "authorization" not in seen["headers"]
    told = ["proxy-authorization" in seen.headers for seen in proxy.seen]
    assert (told, [seen.method for seen in proxy.seen]) == ([True] * 3, ["GET", "GET", "CONNECT"])
    assert all("authorization" not in seen.headers for seen in proxy.seen)


def test_credentials_of_a_url_go_to_its_host_and_not_to_the_proxy(
    through: Callable[..., Fetcher], site: PracticeSite, secure_site: str
) -> None:
    with ProxyServer() as proxy:
        fetcher = through(proxy.url)
        for url in (site.url, secure_site):
            url = url.replace("://", "://reader:practice@")
            assert fetcher.fetch(Request(f"{url}/basic-auth")).status == 200
    assert "reader" not in " ".join(proxy.targets)
    assert [list(each.headers).count("proxy-authorization") for each in proxy.seen] == [0, 0]
    assert "authorization" not in proxy.seen[1].headers


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("credentials", ["", "me:wrong@"])
def test_a_proxy_that_wants_another_password_is_told_and_not_asked_again(
    through: Callable[..., Fetcher],
    site: PracticeSite,
    secure_site: str,
    scheme: str,
    credentials: str,
) -> None:
    with ProxyServer(credentials="me:right") as proxy:
        fetcher = through(proxy.url.replace("://", f"://{credentials}"))
        found = failed(fetcher, (site.url if scheme == "http" else secure_site) + "/empty")
    assert (found.kind, found.status, found.retryable) == ("proxy", None, False)
    wish = "doesn't take the user and password" if credentials else "wants a user and a password"
    assert found.message.startswith(f"the proxy {proxy.url} {wish}")
    assert "wrong" not in found.message
    assert len(proxy.seen) == 1


def test_a_407_in_a_tunnel_is_the_servers_own(
    through: Callable[..., Fetcher], secure_site: str
) -> None:
    with ProxyServer() as proxy:
        exchange = through(proxy.url).fetch(Request(secure_site + "/status/407"))
    assert exchange.status == 407


@pytest.mark.parametrize(("status", "retryable"), [(403, False), (502, True), (504, True)])
def test_a_proxy_that_makes_no_tunnel(
    through: Callable[..., Fetcher], secure_site: str, status: int, retryable: bool
) -> None:
    answer = b"HTTP/1.1 %d No\r\nContent-Length: 5\r\n\r\nsorry" % status
    with ProxyServer(answer=answer) as proxy:
        found = failed(through(proxy.url), secure_site)
    assert (found.kind, found.status, found.retryable) == ("proxy", None, retryable)
    assert not found.unreached
    message = f"the proxy {proxy.url} makes no way to the host: it answered {status}"
    assert found.message == message


@pytest.mark.parametrize("url", ["http://site.example/", "https://site.example/"])
def test_a_proxy_where_nobody_listens(through: Callable[..., Fetcher], url: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{nobody.getsockname()[1]}"
        found = failed(through(f"http://me:{SECRET}@{place}"), url)
    assert (found.kind, found.retryable, found.unreached) == ("connection", True, True)
    start = f"the proxy http://{place} can't be reached: ConnectionRefusedError: "
    assert found.message.startswith(start)
    assert "me" not in found.message.removeprefix(start).split()


@pytest.mark.parametrize("url", ["http://site.example/", "https://site.example/"])
def test_a_proxy_whose_name_has_no_address(through: Callable[..., Fetcher], url: str) -> None:
    found = failed(through("http://nosuch.invalid:3128"), url)
    assert (found.kind, found.retryable, found.unreached) == ("connection", True, True)
    assert found.message.startswith("the proxy http://nosuch.invalid:3128 can't be reached: ")


@pytest.mark.parametrize("url", ["http://site.example/", "https://site.example/"])
def test_a_proxy_that_never_answers(through: Callable[..., Fetcher], url: str) -> None:
    with Drip(b"", b"x", interval=0.5) as silent:
        found = failed(through(silent.url, TIMEOUT), url)
    assert (found.kind, found.retryable, found.unreached) == ("timeout", True, False)
    assert found.message.startswith(f"through the proxy {silent.url}: TimeoutError: no ")
    assert found.message.endswith(" after 0.3 s")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "protocol"),
        (b"HTTP/1.1 what\r\n\r\n", "protocol"),
        (b"", "connection"),
    ],
    ids=["ssh", "status", "nothing"],
)
@pytest.mark.parametrize("url", ["http://site.example/", "https://site.example/"])
def test_a_proxy_that_answers_garbage_or_nothing(
    through: Callable[..., Fetcher], answer: bytes, kind: str, url: str
) -> None:
    with ProxyServer(answer=answer) as proxy:
        found = failed(through(proxy.url), url)
    assert (found.kind, found.retryable) == (kind, kind == "connection")
    assert not found.unreached
    assert found.message.startswith(f"through the proxy {proxy.url}: ")


@pytest.mark.parametrize(
    ("said", "kind"),
    [(b"", "connection"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "tls")],
    ids=["closed", "no TLS"],
)
def test_a_tunnel_that_leads_nowhere(
    through: Callable[..., Fetcher], secure_site: str, said: bytes, kind: str
) -> None:
    with ProxyServer(in_tunnel=said) as proxy:
        found = failed(through(proxy.url), secure_site)
    assert (found.kind, found.retryable, found.unreached) == (kind, kind != "tls", False)


@pytest.mark.parametrize(
    ("size", "kinds"),
    [(500, {"connection"}), (40_000, {"truncated"}), (400_000, {"truncated"})],
    ids=["TLS", "body", "long body"],
)
def test_a_tunnel_that_ends_in_the_middle(
    through: Callable[..., Fetcher], secure_site: str, size: int, kinds: set[str]
) -> None:
    with ProxyServer(cut_at=size) as proxy:
        found = failed(through(proxy.url), secure_site + "/big?mb=1")
    assert found.kind in kinds
    assert (found.retryable, found.unreached) == (True, False)


def test_a_server_that_hangs_up_in_the_middle_of_tls(through: Callable[..., Fetcher]) -> None:
    with Script(b"") as server:
        found = failed(through("none"), server.url.replace("http:", "https:"))
    assert (found.kind, found.retryable) == ("connection", True)


@pytest.mark.parametrize(
    "established",
    [
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nProxy-Connection: keep-alive\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",  # to be ignored (9.3.6)
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_however_a_proxy_says_that_the_tunnel_is_there(
    through: Callable[..., Fetcher], secure_site: str, established: bytes
) -> None:
    with ProxyServer(established=established) as proxy:
        fetcher = through(proxy.url)
        assert echo(fetcher.fetch(Request(secure_site + "/echo")))["target"] == "/echo"
        assert fetcher.fetch(Request(secure_site + "/big?mb=1")).status == 200
    assert proxy.connections == 1


def test_a_tunnel_to_an_address_of_ipv6(through: Callable[..., Fetcher]) -> None:
    with ProxyServer(answer=b"HTTP/1.1 502 No\r\n\r\n") as proxy:
        assert failed(through(proxy.url), "https://[::1]:8443/").kind == "proxy"
    assert proxy.targets == ["CONNECT [::1]:8443"]
    assert proxy.seen[0].headers["host"] == "[::1]:8443"


def test_tunnels_on_uvloop(secure_site: str) -> None:
    uvloop = pytest.importorskip("uvloop")
    with ProxyServer(credentials=f"me:{PLAIN_SECRET}") as proxy:
        fetcher = OnLoop(
            timeout=5,
            max_body=LIMIT,
            loop_factory=uvloop.new_event_loop,
            proxy=parse_proxy(with_password(proxy)),
        )
        for path in ("/echo", "/big?mb=1"):
            exchange = fetcher.fetch(Request(secure_site + path))
            assert (exchange.status, exchange.is_private) == (200, True)
        fetcher.close()
    assert proxy.connections == 1


def test_a_proxy_that_was_restarted_is_asked_anew(
    through: Callable[..., Fetcher], site: PracticeSite, secure_site: str
) -> None:
    with ProxyServer() as proxy:
        fetcher = through(proxy.url)
        for url in (site.url, secure_site):
            assert fetcher.fetch(Request(url + "/empty")).status == 200
    with ProxyServer(port=proxy.port) as again:
        for url in (site.url, secure_site):
            assert fetcher.fetch(Request(url + "/empty")).status == 200
    assert again.connections == 2


def test_a_certificate_counts_in_a_tunnel_as_well(
    through: Callable[..., Fetcher], secure_site: str
) -> None:
    names = {"other.example": "127.0.0.1"}
    with ProxyServer(names=names) as proxy:
        found = failed(through(proxy.url), secure_site.replace("127.0.0.1", "other.example"))
    assert (found.kind, found.retryable) == ("tls", False)
    assert "other.example" in found.message


def test_connections_through_a_proxy_are_kept(
    through: Callable[..., Fetcher], site: PracticeSite, secure_site: str
) -> None:
    with ProxyServer() as proxy:
        fetcher = through(proxy.url)
        for path in ("/empty", "/gzip", "/big?mb=1", "/status/404", "/redirect/1", "/no-content"):
            fetcher.fetch(Request(site.url + path))
            fetcher.fetch(Request(secure_site + path))
            fetcher.fetch(Request(secure_site + "/echo", "POST", body=b"x"))
    assert proxy.connections == 2
    assert len([seen for seen in proxy.seen if seen.method == "CONNECT"]) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/hang",
        "/drip?bytes=100&interval=0.05",
        "/close",
        "/length/too-long",
        "/chunked/truncated",
        "/gzip/truncated",
        "/gzip/garbage",
        "/gzip-bomb?mb=64",
        "/endless",
        "/big?mb=3",
        "/length/twice",
        "/headers/flood?mb=1",
        "/not-http/ssh",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_failures_are_of_the_same_kind_through_a_proxy(
    fetcher: Fetcher,
    through: Callable[..., Fetcher],
    site: PracticeSite,
    secure_site: str,
    path: str,
    scheme: str,
) -> None:
    direct = failed(fetcher, site.url + path)
    with ProxyServer() as proxy:
        proxied = through(proxy.url, TIMEOUT)
        url = site.url if scheme == "http" else secure_site
        found = failed(proxied, url + path)
        assert (found.kind, found.retryable) == (direct.kind, direct.retryable)
        assert echo(proxied.fetch(Request(url + "/echo?after")))["target"] == "/echo?after"


def test_an_odd_answer_is_taken_through_a_proxy_too(
    through: Callable[..., Fetcher], site: PracticeSite, secure_site: str
) -> None:
    with ProxyServer(credentials=f"me:{PLAIN_SECRET}") as proxy:
        fetcher = through(with_password(proxy))
        for url in (site.url, secure_site):
            assert fetcher.fetch(Request(url + "/headers/broken")).status == 200
    assert len(proxy.seen) == (4 if isinstance(fetcher, OnLoop) else 2)  # once more, by requests


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "localhost",
        "app.localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "%31%32%37.0.0.1",
        "\uff11\uff12\uff17.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "169.254.169.254",
        "10.0.0.1",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_t1_no_private_address_is_asked_for_through_a_proxy(
    through: Callable[..., Fetcher], host: str, scheme: str
) -> None:
    with ProxyServer() as proxy:
        found = failed(through(proxy.url), f"{scheme}://{host}:9/", private=False)
    if host.isascii():
        assert (found.kind, found.retryable) == ("address", False)
        assert "a private address" in found.message
    else:  # requests takes such digits for none
        assert (found.kind, found.retryable) in (("address", False), ("url", False))
    assert proxy.connections == 0


def test_t1_the_proxy_may_be_at_a_private_address_and_knows_names_better(
    through: Callable[..., Fetcher], site: PracticeSite, names: dict[str, list[str]]
) -> None:
    with ProxyServer(names={"site.example": "127.0.0.1"}) as proxy:
        fetcher = through(proxy.url)
        url = site.url.replace("127.0.0.1", "site.example") + "/empty"
        exchange = fetcher.fetch(Request(url), private=False)
        assert not exchange.is_private
        assert "site.example" not in names["asked"]
        assert fetcher.fetch(Request(site.url + "/empty"), private=True).is_private


def test_without_the_setting_no_proxy_of_the_environment_is_asked(
    make: Make, site: PracticeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProxyServer() as proxy:
        for name in ("http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        fetcher = make(timeout=5, max_body=LIMIT, user_agent="test/1.0")
        assert fetcher.fetch(Request(site.url + "/empty")).status == 200
        fetcher.close()
    assert proxy.connections == 0


def test_no_variable_of_the_environment_leads_past_the_proxy(
    through: Callable[..., Fetcher], site: PracticeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")
    with ProxyServer() as proxy:
        assert through(proxy.url).fetch(Request(site.url + "/empty")).status == 200
    assert proxy.connections == 1
