"""Spiders for tests of what goes wrong: one reads any page, one does what its page's URL says."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from crawler import Request, Response, spider


@spider()
def read(response: Response) -> dict[str, Any]:
    """Uses all that a page offers; the body says nothing of how long it is."""
    response.soup.get_text()
    return {
        "asked": (response.history or (response.url,))[0],
        "text": response.text[:20],
        "title": response.css("title::text").get(),
        "links": [request.url for request in response.follow_all(css="a")][:3],
        "last": response.xpath("(//a)[last()]/@href").get(),
    }


@spider()
def follow(response: Response) -> Iterator[Any]:
    """Follows the links in the page's `title`, which the practice site takes from the URL."""
    yield {"url": response.url}
    for link in (response.css("title::text").get() or "").split():
        yield response.follow(link)


@spider()
def count(response: Response) -> Any:
    """The practice site's counts."""
    return response.json()


@spider()
def misbehave(response: Response) -> Any:
    """Does what the query of its URL says, or else is good."""
    name = urlsplit(response.url).query.rstrip("0123456789")
    return DEEDS[name](response)


def be_good(response: Response) -> dict[str, Any]:
    return {"title": response.css("h1::text").get()}


def recurse(response: Response) -> Any:
    return recurse(response)


def raise_error(response: Response) -> None:
    raise ValueError("broken")


def exit_politely(response: Response) -> None:
    sys.exit(3)


def exit_at_once(response: Response) -> None:
    os._exit(0)


def kill_self(response: Response) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash(response: Response) -> None:
    ctypes.string_at(0)


def search_for_ever(response: Response) -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


def sleep_for_ever(response: Response) -> None:
    time.sleep(3600)


def give_items_for_ever(response: Response) -> Iterator[dict[str, Any]]:
    while True:
        yield {"again": response.url}


def give_links_for_ever(response: Response) -> Iterator[Request]:
    while True:
        yield response.follow("/empty")


def take_all_memory_at_once(response: Response) -> dict[str, Any]:
    return {"size": len(bytearray(10**13))}


def take_all_memory(response: Response) -> dict[str, Any]:
    taken = []
    while True:
        taken.append(bytearray(10**6))


DEEDS: dict[str, Callable[[Response], Any]] = {
    "good": be_good,
    "recursion": recurse,
    "error": raise_error,
    "exit": exit_politely,
    "os-exit": exit_at_once,
    "sigkill": kill_self,
    "segfault": crash,
    "regex": search_for_ever,
    "sleep": sleep_for_ever,
    "items": give_items_for_ever,
    "links": give_links_for_ever,
    "bytes": take_all_memory_at_once,
    "memory": take_all_memory,
}
