"""Which host may be asked, and when. Times are seconds of the caller's monotonic clock."""

from __future__ import annotations


class Politeness:
    """Keeps `delay` seconds between two requests to the same host.

    Counted from start to start; from the end of the last exchange when `serial`, that is when only
    one request is in flight at a time: a slow server then gets the same rest as a fast one.
    """

    def __init__(self, delay: float = 0.0, *, serial: bool = False) -> None:
        self.delay = delay
        self.serial = serial
        self._ready_at: dict[str, float] = {}

    def ready_at(self, host: str) -> float:
        """When the host may be asked next."""
        return self._ready_at.get(host, 0.0)

    def started(self, host: str, now: float) -> None:
        """A request to the host was handed out."""
        if self.delay:
            self._ready_at[host] = now + self.delay

    def finished(self, host: str, now: float) -> None:
        """The host answered, or the attempt failed."""
        if self.delay and self.serial:
            self._ready_at[host] = now + self.delay
