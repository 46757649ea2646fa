"""Serves a folder on loopback: `python static_site.py FOLDER` says at which port, then serves.

A program of its own, so that it takes no time from a crawl in the test's process.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else header and body go out apart, and the body waits 40 ms for the client's acknowledgement.
    wbufsize = 2**20
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Nothing: a page a millisecond."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Its URL, while the block runs."""
    server = subprocess.Popen([sys.executable, __file__, folder], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.communicate()


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), partial(Handler, directory=sys.argv[1])) as httpd:
        print(httpd.server_port, flush=True)
        httpd.serve_forever()
