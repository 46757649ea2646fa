"""The sentence after a crawl: each has a premise that was measured; without one, there is none."""

from __future__ import annotations

import pytest

from crawler.advice import advise


def advice(
    shares: dict[str, float],
    *,
    seconds: float = 60.0,
    cpu: float = 0.1,
    mode: str = "threads",
    cores: int = 4,
    spider_seconds: float = 0.0,
    soup_seconds: float = 0.0,
) -> str | None:
    return advise(
        shares,
        seconds=seconds,
        cpu_seconds=cpu * seconds,
        mode=mode,
        cores=cores,
        spider_seconds=spider_seconds,
        soup_seconds=soup_seconds,
    )


MORE = "more requests in flight (-j, --concurrency) would help, if the site allows"


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [
        (
            {"delay": 0.913, "fetch": 0.087},
            "91 % of the time waited for the delay of hosts: more workers would not help",
        ),
        (
            {"per_host": 0.6, "fetch": 0.4},
            (
                "60 % of the time waited at the limit per host: "
                "a higher --per-host would help, if the site allows"
            ),
        ),
        (
            {"backoff": 0.5, "fetch": 0.3, "delay": 0.2},
            (
                "50 % of the time spared hosts that refused or did not answer: "
                "asking faster would not help"
            ),
        ),
        (
            {"order": 0.6, "fetch": 0.4},
            (
                "60 % of the time waited for slow pages: "
                "--order completion would not hold back those behind them"
            ),
        ),
        (
            {"retry": 0.75, "fetch": 0.25},
            (
                "75 % of the time waited to try failed pages again: "
                "fewer --retries would end it sooner"
            ),
        ),
        (
            {"empty": 0.87, "fetch": 0.13},
            "87 % of the time no more pages were known: more workers would not help",
        ),
        (
            {"commit": 0.7, "fetch": 0.3},
            "70 % of the time went into steps, outputs and journal: more workers would not help",
        ),
        ({"fetch": 0.95, "spider": 0.05}, f"fetching took 95 % of the time: {MORE}"),
        (
            {"spider": 0.9, "fetch": 0.1},
            f"spiders took 90 % of the time, hardly computing: {MORE}",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_stands_out_is_said(shares: dict[str, float], sentence: str) -> None:
    assert advice(shares) == sentence


@pytest.mark.parametrize(
    ("shares", "cpu", "mode", "cores", "sentence"),
    [
        (
            {"spider": 0.8, "fetch": 0.2},
            0.97,
            "threads",
            4,
            "spiders took 80 % of the time, computing: --mode processes would use all 4 cores",
        ),
        (
            {"spider": 0.3, "fetch": 0.7},
            0.97,
            "threads",
            2,
            "one core was busy most of the time, computing: --mode processes would use all 2 cores",
        ),
        (
            {"spider": 0.8, "fetch": 0.2},
            0.9,
            "sequential",
            2,
            "spiders took 80 % of the time, computing: --mode processes would use all 2 cores",
        ),
        (
            {"fetch": 0.9, "spider": 0.06},
            0.1,
            "sequential",
            1,
            "pages took 96 % of the time, one by one: --mode threads would take several",
        ),
        ({"fetch": 0.95}, 0.1, "processes", 1, f"fetching took 95 % of the time: {MORE}"),
        # What isn't measured isn't said.
        ({"spider": 0.9, "fetch": 0.1}, 0.97, "threads", 1, None),  # there is one core
        ({"spider": 0.9, "fetch": 0.1}, 1.7, "threads", 2, None),  # both are busy already
        ({"spider": 0.9, "fetch": 0.1}, 0.5, "threads", 4, None),  # waiting or computing?
        ({"spider": 0.9, "fetch": 0.1}, 0.1, "processes", 4, None),  # that of workers is unknown
        ({"fetch": 0.95}, 0.1, "mine:Executor", 4, None),  # who knows what it can do
    ],
)
def test_whether_spiders_compute_is_told_by_the_cpu(
    shares: dict[str, float], cpu: float, mode: str, cores: int, sentence: str | None
) -> None:
    assert advice(shares, cpu=cpu, mode=mode, cores=cores) == sentence


@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "mine:Executor"])
@pytest.mark.parametrize(
    ("shares", "seconds"),
    [
        ({"delay": 1.0}, 1.9),
        ({}, 60.0),
        ({"fetch": 0.45, "spider": 0.3, "delay": 0.25}, 60.0),
        ({"start": 0.6, "fetch": 0.4}, 60.0),
        ({"other": 0.6, "fetch": 0.4}, 60.0),
        ({"stop": 0.9, "fetch": 0.1}, 60.0),
    ],
    ids=["short", "nothing", "balanced", "start", "other", "stop"],
)
def test_a_crawl_that_was_short_or_balanced_gets_none(
    shares: dict[str, float], seconds: float, mode: str
) -> None:
    assert advice(shares, seconds=seconds, mode=mode) is None


@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "async"])
def test_soups_are_named_when_they_are_what_takes_long(mode: str) -> None:
    shares = {"spider": 0.9, "fetch": 0.1}
    assert advice(shares, cpu=0.9, mode=mode, soup_seconds=31) == (
        "making soups took 31 s of computing in 60 s: "
        "response.css and response.xpath take a thirtieth of it"
    )
    few = advice(shares, cpu=0.9, mode=mode, soup_seconds=29)
    assert few is None or "soups" not in few


def test_spiders_that_hold_up_the_event_loop_are_named() -> None:
    """All other requests wait meanwhile, which looks like slow fetching."""
    shares = {"fetch": 0.43, "other": 0.4, "spider": 0.06}
    assert advice(shares, mode="async", spider_seconds=57) == (
        "spiders held up the event loop for 95 % of the time, hardly computing: "
        "--mode threads would have them wait side by side"
    )
    assert advice(shares, mode="async", cpu=0.97, spider_seconds=57) == (
        "spiders took 95 % of the time, computing: --mode processes would use all 4 cores"
    )
    assert advice(shares, mode="async", spider_seconds=20) is None
    assert advice(shares, mode="threads", spider_seconds=57) is None
