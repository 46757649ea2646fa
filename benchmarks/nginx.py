"""The server that all programs crawl: nginx on loopback, with a configuration of our own.

One worker process. Files are served as they are; a site may answer late, or badly (Weather).
Nothing is compressed and nothing is logged: both would be the server's time, not the crawler's.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 10.0
_ECHO = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")


@dataclass(frozen=True, slots=True)
class Weather:
    """How many of a site's answers are bad, in per cent; each attempt has its luck anew."""

    errors: float = 0.0
    """Status 500."""
    stalls: float = 0.0
    """No answer for a minute."""
    resets: float = 0.0
    """The connection is reset."""


def missing() -> str | None:
    """What keeps nginx from being used here, or None."""
    if _binary() is None:
        return "nginx"
    return None if _ECHO.exists() else "nginx's module echo"


def _binary() -> str | None:
    # Debian has it where only root's PATH leads.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def serve(
    folder: Path,
    scratch: Path,
    *,
    hosts: Sequence[str] = ("127.0.0.1",),
    latency: float = 0.0,
    weather: Weather | None = None,
) -> Iterator[list[str]]:
    """The URLs ("http://127.0.0.1:4711") at which a folder is served while the block runs.

    All hosts (addresses of loopback) have the same pages, each `latency` seconds late; robots.txt
    and files that are not there are never late. `scratch` gets nginx's own files. Raises OSError
    with nginx's words if it doesn't start.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    configuration = scratch / "nginx.conf"
    configuration.write_text(
        _configuration(folder, scratch, hosts, port, latency, weather or Weather()),
        encoding="utf-8",
    )
    log = scratch / "error.log"
    process = subprocess.Popen(
        [str(_binary()), "-p", str(scratch), "-e", str(log), "-c", str(configuration)],
        stderr=subprocess.DEVNULL,
    )
    try:
        for host in hosts:
            _wait_until_it_answers(process, host, port, log)
        yield [f"http://{host}:{port}" for host in hosts]
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(
    process: subprocess.Popen[bytes], host: str, port: int, log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(errors="replace") if log.exists() else ""
                raise OSError(f"nginx did not start: {words.strip()}") from None
            time.sleep(0.01)
        else:
            return


def _configuration(
    folder: Path, scratch: Path, hosts: Sequence[str], port: int, latency: float, weather: Weather
) -> str:
    listens = "\n        ".join(f"listen {host}:{port} backlog=4096;" for host in hosts)
    temporary = "\n    ".join(
        f"{name}_temp_path {scratch}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65_536)
    # The folder may be readable for its owner alone, and nginx started by root becomes "nobody".
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""
{user}
load_module {_ECHO};
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {scratch}/nginx.pid;
events {{ worker_connections {files // 2}; multi_accept on; }}
http {{
    {temporary}
    types {{ text/html html; text/css css; text/plain txt; application/json json; }}
    default_type application/octet-stream;
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 10000000;
    keepalive_timeout 120;
    reset_timedout_connection on;  # makes 444 a reset
    open_file_cache max={files // 2} inactive=600s;
    open_file_cache_valid 600s;
    {_luck(weather)}
    server {{
        {listens}
        root {folder};
        location = /robots.txt {{ return 404; }}
        location /files {{ internal; alias {folder}; }}
        location / {{ {_answer(latency, weather)} }}
        location /stall/ {{ internal; echo_sleep 60; echo late; }}
    }}
}}
"""


def _luck(weather: Weather) -> str:
    shares = {"error": weather.errors, "stall": weather.stalls, "reset": weather.resets}
    lines = [f"{share}% {kind};" for kind, share in shares.items() if share]
    return f"split_clients $request_id $luck {{ {' '.join(lines)} * good; }}"


def _answer(latency: float, weather: Weather) -> str:
    rules = []
    if weather != Weather():
        rules.append("if ($luck = error) { return 500; }")
        rules.append("if ($luck = reset) { return 444; }")
        rules.append("if ($luck = stall) { rewrite ^ /stall$uri last; }")
    if latency:
        rules.append(f"echo_sleep {latency}; echo_exec /files$uri;")
    return " ".join(rules)
