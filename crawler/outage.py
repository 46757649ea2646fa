"""Which hosts went away in mid-crawl: a network that dies, a server that is restarted. Pure rules.

A page can't help it that its host isn't there any more. So while a host is down, attempts to reach
it don't count as attempts of the page, and its pages wait with the host's pauses until it is back,
or is given up. That is meant for hosts that have answered in this crawl: one that never did may not
exist, and its pages should fail soon.

Failed connections alone count. A connection that breaks, or on which nothing comes, may be the
page's own fault, and a page that always fails must not be waited for.
"""

from __future__ import annotations

from crawler.backoff import DOWN

MAX_KNOWN = 100_000
"""Hosts of which it is remembered that they answered, at most; some 10 MB."""


class Outages:
    """Knows which hosts have answered, and which of them are down.

    If nobody answers, and one at least of those that can't be reached had answered before, the
    network is down, and with it all hosts, whether they had answered or not.
    """

    def __init__(self, max_known: int = MAX_KNOWN) -> None:
        self._half = max_known // 2
        self._answered: set[str] = set()
        self._answered_before: set[str] = set()
        """What was in the other set when that had become too large: most hosts of late are here."""
        self._missed: dict[str, int] = {}
        """Of hosts that had answered: attempts since then that didn't reach them."""
        self._silence = 0
        """The same for all hosts together."""

    def __len__(self) -> int:
        """Of how many hosts something is kept."""
        return len(self._answered) + len(self._answered_before) + len(self._missed)

    def answered(self, host: str) -> bool:
        """The host answered, whatever it was. Says whether the host was down until now."""
        self._silence = 0
        if host not in self._answered:
            if len(self._answered) >= self._half:
                self._answered, self._answered_before = set(), self._answered
            self._answered.add(host)
        return self._missed.pop(host, 0) >= DOWN

    def missed(self, host: str) -> bool:
        """There was no connection to the host. Says whether the host is down from now on."""
        self._silence += 1
        if host not in self._missed and not self.has_answered(host):
            return False
        self._missed[host] = self._missed.get(host, 0) + 1
        return self._missed[host] == DOWN

    def has_answered(self, host: str) -> bool:
        """Whether it has in this crawl, as far as is remembered."""
        return host in self._answered or host in self._answered_before

    def is_down(self, host: str) -> bool:
        """Whether the host can't be reached, through no fault of the page that was asked for."""
        if self._missed.get(host, 0) >= DOWN:
            return True
        return bool(self._missed) and self._silence >= DOWN

    def forget(self, host: str) -> None:
        """Nobody waits for the host any more."""
        self._missed.pop(host, None)
