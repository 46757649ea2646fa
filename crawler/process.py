"""Which of our processes this is: the one that runs the crawl, or a worker of its pool."""

from __future__ import annotations

WORKER_NAME = "crawl-worker-"
"""What the names of worker processes begin with."""


def in_worker_process() -> bool:
    """Whether this process is one of a pool's workers."""
    import multiprocessing  # 14 ms, and `import crawler` comes through here

    return multiprocessing.current_process().name.startswith(WORKER_NAME)
