"""crawl-in-order: out-of-order execution, in-order commit.

from crawler import run, spider

@spider(url="https://example.org/page/{page}/")
def example(response):
    for post in response.css("article"):
        yield {"title": post.css("h2::text").get()}

result = run(example, pages=4, mode="threads")
result.items      # a list, in the order of the pages
result.failures   # what failed, and why

And for functions that are no spiders: `crawler.map`, `starmap`, `Pool` and `ThreadPool`; for memory
that several processes share: `crawler.shared`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crawler.download import Download
from crawler.errors import CrawlError, Retry
from crawler.request import Request
from crawler.run import CrawlResult, run
from crawler.spider import spider
from crawler.version import __version__

if TYPE_CHECKING:
    from multiprocessing import freeze_support

    from crawler import shared
    from crawler.mapping import map as map  # noqa: A004  (meant to be used as `crawler.map`)
    from crawler.mapping import starmap
    from crawler.pool import Pool, ThreadPool
    from crawler.response import Response
    from crawler.retry import RetryPolicy

__all__ = [
    "CrawlError",
    "CrawlResult",
    "Download",
    "Pool",
    "Request",
    "Response",
    "Retry",
    "RetryPolicy",
    "ThreadPool",
    "__version__",
    "freeze_support",
    "run",
    "shared",
    "spider",
    "starmap",
]
# Without `map`: `from crawler import *` must not replace Python's own.

_LAZY = {
    "Pool": "crawler.pool",
    "Response": "crawler.response",
    "RetryPolicy": "crawler.retry",
    "ThreadPool": "crawler.pool",
    "freeze_support": "multiprocessing",  # for programs in which only the import line changed
    "map": "crawler.mapping",
    "starmap": "crawler.mapping",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for, so that `crawl --help` and `import crawler` stay fast.
    import importlib

    if name == "shared":
        return importlib.import_module("crawler.shared")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
