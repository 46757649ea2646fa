"""A request on its way through the crawl: its rank, its attempts, where it was redirected."""

from __future__ import annotations

from dataclasses import dataclass, field

from crawler.download import Wanted
from crawler.request import Request
from crawler.result import Result
from crawler.url import host


@dataclass(order=True, slots=True)
class Entry:
    """A request in the frontier or in flight.

    Once it has a rank it keeps it, whatever happens: retries and redirects change nothing.
    """

    rank: int
    request: Request = field(compare=False)
    attempts: int = field(default=0, compare=False)
    """Attempts made, the one in flight included; a redirect begins none."""
    depth: int = field(default=0, compare=False)
    """Links from a start request."""
    fingerprint: bytes = field(default=b"", compare=False)
    is_start: bool = field(default=False, compare=False)
    is_robots: bool = field(default=False, compare=False)
    """A site's robots.txt: it has no rank and no place."""
    file: Wanted | None = field(default=None, compare=False)
    """A file that a page waits for: it has no rank and no place either."""
    is_again: bool = field(default=False, compare=False)
    """Whether it failed in an earlier run, and has its rank and place from there."""
    place: int = field(default=0, compare=False)
    """Its place in the journal."""
    parent: int | None = field(default=None, compare=False)
    """The rank of the page that linked here."""
    moved_to: Request | None = field(default=None, compare=False)
    """Where it was redirected; `move` redirects it."""
    due: float = field(default=0.0, compare=False)
    """When its next attempt may be made."""
    is_in_flight: bool = field(default=False, compare=False)
    is_void: bool = field(default=False, compare=False)
    """Nobody wants it any more."""
    result: Result | None = field(default=None, compare=False)
    """What came of it, if that was known before it had a rank."""
    marks: list[bytes] = field(default_factory=list, compare=False)
    """Fingerprints of its follow-ups, of the first ones as far as they are known."""
    target: Request = field(init=False, repr=False, compare=False)
    """What is to be fetched: the request, or where it was redirected."""
    host: str = field(init=False, repr=False, compare=False)
    """Of the target: what politeness goes by."""

    def __post_init__(self) -> None:
        """Target and host are asked for a dozen times."""
        self.target = self.moved_to or self.request
        self.host = host(self.target.url)

    def move(self, to: Request) -> None:
        """It was redirected."""
        self.moved_to = self.target = to
        self.host = host(to.url)
