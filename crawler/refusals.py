"""Which hosts let us in, and which didn't: told from the pages committed, so timing is no matter.

A host has blocked us if it was given up (see `crawler.politeness`), or if it refused pages (403,
429, 503) and gave none.
"""

from __future__ import annotations

from typing import Any

from crawler.backoff import REFUSALS
from crawler.result import Failure

_MAX_HOSTS = 1_000
"""Of each kind; in a crawl of more hosts, those that come later aren't named."""


class Refusals:
    """Counts refused pages by host."""

    def __init__(self) -> None:
        self.pages = 0
        """Pages that were refused, or not asked for because their host was given up."""
        self._refused: dict[str, int] = {}
        self._given_up: dict[str, int] = {}
        self._open: dict[str, None] = {}
        """Hosts that gave a page, or said that there is none."""

    @property
    def hosts(self) -> dict[str, int]:
        """The hosts that have blocked us, and how many pages of each are missing."""
        return {
            host: self._refused.get(host, 0) + self._given_up.get(host, 0)
            for host in {**self._refused, **self._given_up}
            if host in self._given_up or host not in self._open
        }

    def note(self, host: str, failure: Failure | None) -> None:
        """A page of the host was committed."""
        if failure is None or (failure.status is not None and failure.status not in REFUSALS):
            if host not in self._open and len(self._open) < _MAX_HOSTS:
                self._open[host] = None
        elif failure.kind == "blocked":
            self.pages += 1
            _count(self._given_up, host)
        elif failure.status is not None:
            self.pages += 1
            _count(self._refused, host)

    def state(self) -> dict[str, Any]:
        """For a checkpoint: plain JSON."""
        return {
            "pages": self.pages,
            "refused": self._refused,
            "given_up": self._given_up,
            "open": list(self._open),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on with what an earlier session counted."""
        self.pages = state["pages"]
        self._refused, self._given_up = state["refused"], state["given_up"]
        self._open = dict.fromkeys(state["open"])


def _count(hosts: dict[str, int], host: str) -> None:
    if host in hosts or len(hosts) < _MAX_HOSTS:
        hosts[host] = hosts.get(host, 0) + 1
