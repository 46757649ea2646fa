"""HTTP/1.1 on asyncio, one task per connection.

    connection -> _read_request -> routes.find -> handler -> Answer or Script -> bytes

The parsing is our own because a practice site must send what no library would, and must start fast.
Written from RFC 9112; what it doesn't know (chunked requests, upgrades) is refused, not ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
import sys
import time
from itertools import chain
from urllib.parse import parse_qsl

from crawler.demo import routes
from crawler.demo.exchange import (
    RESET,
    Answer,
    BadRequestError,
    Request,
    Script,
    page,
    status_line,
)
from crawler.demo.site import Site
from crawler.demo.weather import Climate, Weather

PREFERRED_PORT = 8642
BACKLOG = 1024
IDLE_SECONDS = 60.0
MAX_HEAD_BYTES = 64 * 1024
MAX_TARGET = 16 * 1024
MAX_BODY_BYTES = 1024 * 1024

# A socket that lingers for zero seconds is closed with RST instead of FIN.
_LINGER_ZERO = struct.pack("ii", 1, 0)
_BODILESS = frozenset({204, 304})


def serve(
    port: int | None = None,
    *,
    host: str = "127.0.0.1",
    climate: Climate | None = None,
    attached: bool = False,
) -> None:
    """Serve the practice site until Ctrl-C.

    `port`: None is 8642 if that is free, else any free one; 0 is any free one. If `attached`, print
    only the URL, and serve until stdin ends. Raises OSError if the port is taken.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(_listen(host, port), climate or Climate(), attached=attached))


def _listen(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    wanted = PREFERRED_PORT if port is None else port
    try:
        return socket.create_server((host, wanted), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        if port is not None:
            raise OSError(f"port {port} of {host} is taken; port 0 means any free one") from error
    return socket.create_server((host, 0), family=family, backlog=BACKLOG)


async def _serve(listener: socket.socket, climate: Climate, *, attached: bool) -> None:
    host, port = listener.getsockname()[:2]
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    site = Site(climate.seed, Weather(climate), authority)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    await loop.create_server(lambda: _Connection(site), sock=listener, backlog=BACKLOG)
    if attached:
        loop.add_reader(sys.stdin.fileno(), stop.set)
        sys.stdout.write(f"http://{authority}\n")
    else:
        sys.stdout.write(f"The practice site is open. http://{authority}/ lists what it can do.\n")
        sys.stdout.write("Ctrl-C closes it.\n")
    sys.stdout.flush()
    await stop.wait()


class _Connection(asyncio.StreamReaderProtocol):
    """One client's connection: requests in, answers out, until one of the two has enough."""

    def __init__(self, site: Site) -> None:
        super().__init__(asyncio.StreamReader(limit=MAX_HEAD_BYTES), self._begin)
        self._site = site
        self._gone = asyncio.Event()

    def eof_received(self) -> bool:
        """Wake up an answer that waits: its client has gone."""
        self._gone.set()
        return bool(super().eof_received())

    def connection_lost(self, error: Exception | None) -> None:
        """Wake up an answer that waits: its client has gone."""
        self._gone.set()
        super().connection_lost(error)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Were this a coroutine, Python 3.11 would print a traceback for each that the end cuts off.
        self._conversation = asyncio.create_task(self._converse(reader, writer))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._site.traffic.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass  # The client has left, or has been silent for too long.
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; returns whether the connection may be used again."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                request = await _read_request(self._site, reader)
        except BadRequestError as error:
            writer.write(_frame(_refusal(error), keep_alive=False))
            await writer.drain()
            return False
        route, arguments = routes.find(request.path)
        request.arguments.update(arguments)
        if not route.counted:
            return await self._send(request, _handled(request, route), writer)
        delay, failure = 0.0, None
        if not route.calm:
            delay, failure = self._site.weather.strike(request.target)
        answer = failure or _handled(request, route)
        self._site.traffic.began(request)
        try:
            await self._pause(delay)
            return await self._send(request, answer, writer)
        finally:
            self._site.traffic.ended(str(answer.status) if isinstance(answer, Answer) else "script")

    async def _send(
        self, request: Request, answer: Answer | Script, writer: asyncio.StreamWriter
    ) -> bool:
        if isinstance(answer, Answer):
            await self._pause(answer.after)
            body = request.method != "HEAD"
            writer.write(_frame(answer, keep_alive=request.keep_alive, body=body))
            await writer.drain()
            return request.keep_alive
        for step in answer:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif step is RESET:
                _reset(writer)
                break
            else:
                await self._pause(step)
        return False

    async def _pause(self, seconds: float) -> None:
        """Wait, but not for a client that has gone."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._gone.wait()
                raise ConnectionResetError


async def _read_request(site: Site, reader: asyncio.StreamReader) -> Request:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise BadRequestError("the head is too long", status=431) from None
    first, *lines = head.decode("latin-1").strip("\r\n").split("\r\n")
    method, target, version = _request_line(first)
    headers = tuple(_header(line) for line in lines)
    named = dict(headers)
    if "transfer-encoding" in named:
        raise BadRequestError("only bodies with a Content-Length are understood", status=501)
    length = named.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequestError("Content-Length is not a number")
    if len(length) > 9 or int(length) > MAX_BODY_BYTES:
        raise BadRequestError("the body is too long", status=413)
    connection = named.get("connection", "").lower()
    return Request(
        site=site,
        method=method,
        target=target,
        headers=headers,
        body=await reader.readexactly(int(length)),
        keep_alive="close" not in connection
        and (version == "HTTP/1.1" or "keep-alive" in connection),
        arguments=dict(parse_qsl(target.partition("?")[2], keep_blank_values=True)),
    )


def _request_line(line: str) -> tuple[str, str, str]:
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    if len(target) > MAX_TARGET:
        raise BadRequestError("the target is too long", status=414)
    if target.startswith("http://"):  # the form for proxies, which servers must accept too
        target = "/" + target.removeprefix("http://").partition("/")[2]
    if not (method.isalpha() and target.startswith("/") and version in ("HTTP/1.0", "HTTP/1.1")):
        raise BadRequestError("not a request line")
    return method, target, version


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        raise BadRequestError("not a header line")
    return name.lower(), value.strip()


def _handled(request: Request, route: routes.Route) -> Answer | Script:
    if route.methods and request.method not in route.methods:
        allow = ("Allow", ", ".join(route.methods))
        return page("405", "<h1>Not with that method</h1>", status=405, headers=(allow,))
    try:
        answer = route.handler(request)
        if isinstance(answer, Answer):
            return answer
        # A script reads its arguments before its first step, and may refuse them.
        return chain((next(answer),), answer)
    except BadRequestError as error:
        return _refusal(error)


def _refusal(error: BadRequestError) -> Answer:
    return page(str(error.status), f"<h1>{error}</h1>", status=error.status)


def _frame(answer: Answer, *, keep_alive: bool, body: bool = True) -> bytes:
    lines = [
        status_line(answer.status),
        time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        "Connection: keep-alive" if keep_alive else "Connection: close",
    ]
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    if answer.status not in _BODILESS:
        lines.append(f"Content-Length: {len(answer.body)}")
    lines += [f"{name}: {value}" for name, value in answer.headers]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    return head + answer.body if body else head


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    writer.transport.abort()
