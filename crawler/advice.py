"""One sentence on what would make a crawl faster, if what was measured allows one. Pure rules.

Shares are of the time of all slots, as `crawler.accounting` has them. No sentence says more than
its premise: where nothing stands out, there is none.
"""

from __future__ import annotations

from collections.abc import Mapping

_SHORTEST = 2.0
"""Seconds; a shorter crawl is mostly its start and its end."""
_MUCH = 0.5
_NEARLY_ALL = 0.8
_ONE_CORE = 0.8
"""CPU seconds per second; with more, the process computes rather than waits."""
_HARDLY = 0.3

_IDLE = {
    "delay": "waited for the delay of hosts: more workers would not help",
    "per_host": "waited at the limit per host: a higher --per-host would help, if the site allows",
    "backoff": "spared hosts that refused or did not answer: asking faster would not help",
    "order": "waited for slow pages: --order completion would not hold back those behind them",
    "retry": "waited to try failed pages again: fewer --retries would end it sooner",
    "empty": "no more pages were known: more workers would not help",
    "commit": "went into steps, outputs and journal: more workers would not help",
}


_MORE = "more requests in flight (-j, --concurrency) would help, if the site allows"


def advise(
    time: Mapping[str, float],
    *,
    seconds: float,
    cpu_seconds: float,
    mode: str,
    cores: int,
    spider_seconds: float = 0.0,
    soup_seconds: float = 0.0,
) -> str | None:
    """What to try next time, or None.

    `time` are the shares, `cpu_seconds` what the engine's own process computed, threads included,
    `spider_seconds` and `soup_seconds` what all pages took together, the latter of CPU.
    """
    if seconds < _SHORTEST:
        return None
    if soup_seconds >= _MUCH * seconds:
        took = f"making soups took {soup_seconds:.0f} s of computing in {seconds:.0f} s"
        return f"{took}: response.css and response.xpath take a thirtieth of it"
    fetch, spider = time.get("fetch", 0.0), time.get("spider", 0.0)
    is_one_process = mode in ("sequential", "threads", "async")
    busy = cpu_seconds / seconds
    if mode == "async":
        spider = spider_seconds / seconds  # there is one loop, and nothing else runs meanwhile
        if spider >= _MUCH and busy <= _MUCH:
            held_up = f"spiders held up the event loop for {percent(spider)} of the time"
            return f"{held_up}, hardly computing: --mode threads would have them wait side by side"
    if is_one_process and busy >= _ONE_CORE and fetch + spider >= _MUCH:
        return _of_a_busy_process(spider, busy=busy, cores=cores)
    for reason, sentence in _IDLE.items():
        if time.get(reason, 0.0) >= _MUCH:
            return f"{percent(time[reason])} of the time {sentence}"
    if mode == "sequential" and fetch + spider >= _NEARLY_ALL:
        took = percent(fetch + spider)
        return f"pages took {took} of the time, one by one: --mode threads would take several"
    if mode in ("threads", "processes", "async") and fetch >= _NEARLY_ALL:
        return f"fetching took {percent(fetch)} of the time: {_MORE}"
    if mode == "threads" and spider >= _NEARLY_ALL and busy <= _HARDLY:
        return f"spiders took {percent(spider)} of the time, hardly computing: {_MORE}"
    return None


def _of_a_busy_process(spider: float, *, busy: float, cores: int) -> str | None:
    """When engine and spiders share a process, and it computes all the time."""
    if busy >= _ONE_CORE * cores:
        return None  # there is no core left
    took = f"spiders took {percent(spider)}" if spider >= _MUCH else "one core was busy most"
    return f"{took} of the time, computing: --mode processes would use all {cores} cores"


def percent(share: float) -> str:
    """`91 %`."""
    return f"{100 * share:.0f} %"
