"""Where work runs: `concurrent.futures` executors with a number of slots, chosen by mode."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from crawler.errors import UsageError

_MODES = {
    "sequential": "crawler.executors.sequential:SequentialExecutor",
    "threads": "crawler.executors.threads:ThreadExecutor",
    "processes": "crawler.executors.processes:ProcessExecutor",
    "async": "crawler.executors.aio:AsyncExecutor",
}


def make_executor(
    mode: str,
    *,
    workers: int | None,
    slots: int,
    initializer: Callable[..., None],
    initargs: tuple[Any, ...],
    memory: int | None = None,
    event_loops: bool = False,
) -> Executor:
    """The executor of a mode, or any other named as `package.module:Executor`.

    It is called with `workers` (threads or processes, None for its own choice), `slots` (tasks at
    work at most) and an initializer that every thread that works calls first, with its seat number
    (0 to slots - 1) and `initargs`. `memory` is handed on only if it is given: bytes that each
    worker process may take beyond what it starts with. With `event_loops`, mode `processes` runs
    coroutine functions, as `async` always does; such executors say so by `runs_coroutines`.
    """
    module_name, _, class_name = _MODES.get(mode, mode).partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"mode {mode}: {error}") from None
    options: dict[str, Any] = {} if memory is None else {"memory": memory}
    if mode == "processes":
        options["event_loops"] = event_loops
    try:
        executor = factory(
            workers=workers, slots=slots, initializer=initializer, initargs=initargs, **options
        )
    except TypeError as error:
        raise UsageError(f"mode {mode} can't be set up: {error}") from None
    if not isinstance(executor, Executor):
        raise UsageError(f"mode {mode} is no concurrent.futures.Executor")
    return executor


def layout(mode: str, workers: int | None, slots: int) -> tuple[int, int]:
    """(workers, seats of each) that the executor of a mode makes of `slots` tasks at work."""
    if mode != "processes":
        return slots, 1
    processes = min(workers or os.cpu_count() or 1, slots)
    return processes, -(-slots // processes)
