"""Threads and processes of ours that are there now and weren't before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

import psutil


def _workers() -> set[Hashable]:
    threads = {thread for thread in threading.enumerate() if thread.name.startswith("crawl-")}
    # Processes are forked from the fork server, which itself stays.
    servers = psutil.Process().children()
    return threads | {child for server in servers for child in server.children()}


def watch() -> Callable[[], bool]:
    """A condition: none has come since."""
    before = _workers()
    return lambda: _workers() <= before
