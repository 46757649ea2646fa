"""When a crawl stops although there is more to do, to be resumed later."""

from __future__ import annotations

from dataclasses import dataclass

from crawler.wording import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one session may take: seconds, bytes of pages, failed pages. None is no limit."""

    max_seconds: float | None = None
    max_bytes: int | None = None
    max_failures: int | None = None

    def reached(self, *, seconds: float, body_bytes: int, failures: int) -> str | None:
        """The limit that is reached, in words, or None."""
        if self.max_seconds is not None and seconds >= self.max_seconds:
            return plural(self.max_seconds, "second", shown=f"{self.max_seconds:g}")
        if self.max_bytes is not None and body_bytes >= self.max_bytes:
            return plural(self.max_bytes, "byte", shown=f"{self.max_bytes:,}")
        if self.max_failures is not None and failures >= self.max_failures:
            return plural(self.max_failures, "failed page", shown=f"{self.max_failures:,}")
        return None
