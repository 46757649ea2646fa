"""What one running site remembers: its seed, its weather, and the traffic it has seen."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawler.demo.exchange import Request
    from crawler.demo.weather import Weather

REMEMBERED_REQUESTS = 1000


@dataclass(slots=True)
class Traffic:
    """Counts since the start or the last reset, without the requests that only look at them."""

    connections: int = 0
    requests: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    recent: deque[Request] = field(default_factory=lambda: deque(maxlen=REMEMBERED_REQUESTS))

    def began(self, request: Request) -> None:
        """A request is about to be answered."""
        self.requests += 1
        self.paths[request.target] += 1
        self.recent.append(request)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def ended(self, status: str) -> None:
        """An answer is out, or its client has gone."""
        self.in_flight -= 1
        self.statuses[status] += 1

    def summary(self) -> dict[str, Any]:
        """The counts as plain data."""
        robots = self.paths["/robots.txt"]
        return {
            "connections": self.connections,
            "requests": self.requests,
            "pages": self.requests - robots,
            "robots": robots,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "not_modified": self.statuses["304"],
            "statuses": dict(self.statuses),
            "paths": {path: times for path, times in self.paths.items() if times},
        }


@dataclass(slots=True)
class Site:
    """One practice site."""

    seed: int
    weather: Weather
    authority: str = ""
    """Host and port, known once it listens."""
    robots: str = "allow"
    """Which of the robots.txt variants it has."""
    traffic: Traffic = field(default_factory=Traffic)
    attempts: Counter[str] = field(default_factory=Counter)
    """How often each path was asked for that answers differently each time."""

    def forget_traffic(self) -> None:
        """Count from zero again."""
        self.traffic = Traffic(in_flight=self.traffic.in_flight)
