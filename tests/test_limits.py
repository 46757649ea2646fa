"""When a crawl stops although there is more to do."""

from __future__ import annotations

import pytest

from crawler.limits import Limits


@pytest.mark.parametrize(
    ("limits", "reached"),
    [
        (Limits(), None),
        (Limits(max_seconds=10.5), None),
        (Limits(max_seconds=10), "10 seconds"),
        (Limits(max_bytes=1001, max_failures=4), None),
        (Limits(max_bytes=1000), "1,000 bytes"),
        (Limits(max_failures=3), "3 failed pages"),
        (Limits(max_failures=1), "1 failed page"),
        (Limits(max_seconds=1), "1 second"),
    ],
)
def test_the_limit_that_is_reached(limits: Limits, reached: str | None) -> None:
    assert limits.reached(seconds=10, body_bytes=1000, failures=3) == reached
