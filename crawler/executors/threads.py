"""A pool of threads: for spiders that wait for the network more than they compute."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class ThreadExecutor(ThreadPoolExecutor):
    """The standard pool; each thread is a seat of its own. Threads start as they are needed."""

    def __init__(
        self,
        *,
        workers: int | None,  # noqa: ARG002  (a thread is a slot)
        slots: int,
        initializer: Callable[..., None],
        initargs: tuple[Any, ...],
    ) -> None:
        seats = itertools.count()
        super().__init__(
            max_workers=slots,
            thread_name_prefix="crawl-worker",
            initializer=lambda: initializer(next(seats), *initargs),
        )
