"""Which of our processes this is: the one that runs the crawl, or a worker of its pool."""

from __future__ import annotations

import gc
import sys

WORKER_NAME = "crawl-worker-"
"""What the names of worker processes begin with."""


def in_worker_process() -> bool:
    """Whether this process is one of a pool's workers."""
    # A worker process has imported it. To import it for the answer would take each start 14 ms.
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.current_process().name.startswith(WORKER_NAME)


def collect_no_garbage_yet() -> None:
    """For the start of a process that is ours alone: nearly all that it loads stays."""
    gc.disable()


def collect_garbage_less_often() -> None:
    """For a process that is ours alone: after 3,000 new objects instead of 700.

    A page is thousands of objects, and nearly all are freed without the collector's help. It took
    a tenth of the time of a crawl of small pages, and a quarter of one that makes soups. Still less
    often would gain little more, and memory would grow by what the soups leave behind.

    What is there by now isn't looked at any more, which would take 25 ms each time.
    """
    gc.freeze()
    gc.set_threshold(3_000)
    gc.enable()
