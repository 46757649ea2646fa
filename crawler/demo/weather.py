"""How late is this answer, and does it fail? The same for the same seed, page and n-th request."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from crawler.demo.chance import seeded
from crawler.demo.exchange import RESET, Answer, Script, page


@dataclass(frozen=True, slots=True)
class Climate:
    """What the site's weather is like; the defaults are a calm day."""

    latency: float = 0.0
    """Seconds that every page is late."""
    jitter: float = 0.0
    """Further seconds, evenly distributed from 0 to this."""
    latency_sigma: float = 0.0
    """Spread of a log-normal factor on the latency, which then is the median."""
    fail: float = 0.0
    """Share of the requests that fail; the next one for the same page succeeds."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.latency, self.jitter, self.latency_sigma) < 0:
            raise ValueError("latency, jitter and latency sigma can't be negative")
        if not 0 <= self.fail <= 1:
            raise ValueError("fail is a share, from 0 to 1")

    @property
    def calm(self) -> bool:
        """True if nothing ever happens."""
        return not (self.latency or self.jitter or self.fail)


class Weather:
    """The climate at work: it remembers how often each page was asked for."""

    def __init__(self, climate: Climate) -> None:
        self._climate = climate
        self._asked: Counter[str] = Counter()
        self._failed: set[str] = set()

    def strike(self, target: str) -> tuple[float, Answer | Script | None]:
        """The delay of the next answer for `target`, and the failure that takes its place."""
        if self._climate.calm:
            return 0.0, None
        self._asked[target] += 1
        chance = seeded(self._climate.seed, target, self._asked[target])
        return self._delay(chance), self._failure(target, chance)

    def _delay(self, chance: Random) -> float:
        climate = self._climate
        factor = chance.lognormvariate(0.0, climate.latency_sigma)
        return climate.latency * factor + climate.jitter * chance.random()

    def _failure(self, target: str, chance: Random) -> Answer | Script | None:
        if chance.random() >= self._climate.fail or target in self._failed:
            self._failed.discard(target)
            return None
        self._failed.add(target)
        kind = chance.choices(("busy", "retry now", "broken", "reset"), (5, 2, 2, 1))[0]
        if kind == "reset":
            return iter([RESET])
        if kind == "broken":
            return page("500", "<h1>Something broke</h1>", status=500)
        headers = (("Retry-After", "0"),) if kind == "retry now" else ()
        return page("503", "<h1>Too busy, ask again</h1>", status=503, headers=headers)
