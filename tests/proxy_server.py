"""A small HTTP proxy on loopback, and TLS in front of a site."""

from __future__ import annotations

import asyncio
import base64
import math
import shutil
import ssl
import subprocess
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Server:
    """Serves connections in a thread of its own, until the block ends."""

    scheme = "http"

    def __init__(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        start = asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self._server: asyncio.Server = self._call(start)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # for what connections still have to do about their end

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with suppress(OSError, EOFError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: float = math.inf
) -> None:
    """What comes from the one goes to the other; its end, or so many bytes, end that too."""
    try:
        with suppress(OSError):
            while most > 0 and (data := await reader.read(int(min(most, 65_536)))):
                most -= len(data)
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


async def _join(client: Streams, server: Streams, most: float = math.inf) -> None:
    await asyncio.gather(_pump(client[0], server[1]), _pump(server[0], client[1], most))


class TLSFront(_Server):
    """TLS in front of a site that has none."""

    scheme = "https"

    def __init__(self, site: str, tls: ssl.SSLContext) -> None:
        super().__init__(tls=tls)
        self._site = urlsplit(site)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection(self._site.hostname, self._site.port)
        await _join((reader, writer), behind)


@dataclass(frozen=True)
class Seen:
    """A request as the proxy saw it."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""


class ProxyServer(_Server):
    """Forwards what has a whole URL, and makes tunnels for CONNECT."""

    def __init__(
        self,
        *,
        port: int = 0,
        credentials: str | None = None,
        answer: bytes | None = None,
        in_tunnel: bytes | None = None,
        cut_at: float = math.inf,
        established: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n",
        names: dict[str, str] | None = None,
    ) -> None:
        super().__init__(port=port)
        self.seen: list[Seen] = []
        self.connections = 0
        self._wanted = None if credentials is None else _basic(credentials)
        self._answer = answer
        """Sent in place of anything else, before the connection is closed."""
        self._in_tunnel = in_tunnel
        """The same, when a tunnel should be there."""
        self._cut_at = cut_at
        """Bytes that come through a tunnel to the client before it is closed."""
        self._established = established
        self._names = names or {}
        """Addresses that nobody else knows."""

    @property
    def targets(self) -> list[str]:
        """Of the requests, in order."""
        return [f"{seen.method} {seen.target}" for seen in self.seen]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        servers: dict[str, Streams] = {}
        pumps: list[asyncio.Task[None]] = []
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                seen = _seen(head)
                self.seen.append(seen)
                if self._answer is not None:
                    writer.write(self._answer)
                    return
                if self._wanted not in (None, seen.headers.get("proxy-authorization")):
                    writer.write(
                        b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                        b'Proxy-Authenticate: Basic realm="test"\r\nContent-Length: 0\r\n\r\n'
                    )
                    continue
                if seen.method == "CONNECT":
                    await self._tunnel(seen, (reader, writer))
                    return
                parts = urlsplit(seen.target)
                if parts.netloc not in servers:
                    servers[parts.netloc] = await self._dial(parts.hostname, parts.port or 80)
                    pumps.append(asyncio.create_task(_pump(servers[parts.netloc][0], writer)))
                server = servers[parts.netloc][1]
                server.write(_forwarded(seen, head))
                server.write(await reader.readexactly(int(seen.headers.get("content-length", 0))))
                await server.drain()
        finally:
            for pump in pumps:
                pump.cancel()
            for _, server in servers.values():
                server.close()

    async def _tunnel(self, seen: Seen, client: Streams) -> None:
        host, _, port = seen.target.rpartition(":")
        server = await self._dial(host.strip("[]"), int(port))
        client[1].write(self._established)
        if self._in_tunnel is not None:
            await client[0].read(65_536)
            client[1].write(self._in_tunnel)
            server[1].close()
            return
        await _join(client, server, self._cut_at)

    async def _dial(self, host: str | None, port: int) -> Streams:
        return await asyncio.open_connection(self._names.get(str(host), host), port)


def _basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def _seen(head: bytes) -> Seen:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = (line.partition(":") for line in lines if line)
    return Seen(method, target, {name.lower(): value.strip() for name, _, value in headers})


def _forwarded(seen: Seen, head: bytes) -> bytes:
    """The request as it goes to the server: with the path only, and as RFC 9110 (7.6.1) asks."""
    parts = urlsplit(seen.target)
    target = parts._replace(scheme="", netloc="").geturl() or "/"
    lines = head.decode("latin-1").split("\r\n")[1:]
    kept = [line for line in lines if not line.lower().startswith("proxy-")]
    return "\r\n".join([f"{seen.method} {target} HTTP/1.1", *kept]).encode("latin-1")


def certificate(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for these hosts that only itself vouches for, and what a server needs of it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    make_one = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    hosts = ",".join(f"DNS:{name}" for name in names)
    subprocess.run(
        [
            *(*make_one, "-subj", "/CN=test", "-addext", f"subjectAltName={hosts},IP:127.0.0.1"),
            *("-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context
