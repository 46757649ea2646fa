"""Which links a crawl follows: by host and by regular expression. Pure rules."""

from __future__ import annotations

import re
from collections.abc import Sequence

from crawler.url import host


class Scope:
    """The hosts of the start requests, where those redirected to, and `allow_hosts`.

    `*` as an allowed host is any; `example.org` stands for that host and those below it. Of the
    patterns, searched in the whole URL, one of `allow` must fit if there are any, none of `deny`.
    """

    def __init__(
        self,
        *,
        allow_hosts: Sequence[str] = (),
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
    ) -> None:
        self._allow_hosts = [name.lower().removeprefix("*.") for name in allow_hosts]
        self._allow = [re.compile(pattern) for pattern in allow]
        self._deny = [re.compile(pattern) for pattern in deny]
        self._starts: set[str] = set()
        self._redirected: set[str] = set()

    def add_start(self, name: str) -> None:
        """A start request goes to this host."""
        self._starts.add(name)

    def add_redirected(self, name: str) -> None:
        """A start request was redirected to this host."""
        self._redirected.add(name)

    def is_start(self, name: str) -> bool:
        """Whether a start request, of those taken so far, goes to this host."""
        return name in self._starts

    def allows(self, url: str) -> bool:
        """Whether the URL's host is one to crawl, as far as is known."""
        name = host(url)
        if name in self._starts or name in self._redirected:
            return True
        bare = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name
        return any(
            allowed in ("*", name, bare) or bare.endswith(f".{allowed}")
            for allowed in self._allow_hosts
        )

    def denies(self, url: str) -> str | None:
        """`allow` or `deny`, whichever pattern keeps the URL out; None if neither does."""
        if self._allow and not any(pattern.search(url) for pattern in self._allow):
            return "allow"
        if self._deny and any(pattern.search(url) for pattern in self._deny):
            return "deny"
        return None
