"""What the site saw: counts and requests, for tests that prove what a crawl really did."""

from __future__ import annotations

from crawler.demo.exchange import Answer, Request, json_answer


def stats(request: Request) -> Answer:
    """Counts since the last reset, as JSON: connections, requests, most at once, by path."""
    return json_answer(request.site.traffic.summary())


def forget(request: Request) -> Answer:
    """Counts from zero again."""
    request.site.forget_traffic()
    return json_answer(request.site.traffic.summary())


def recent(request: Request) -> Answer:
    """The last 1,000 requests with their headers and bodies, oldest first, as JSON."""
    return json_answer([seen.as_json() for seen in request.site.traffic.recent])
