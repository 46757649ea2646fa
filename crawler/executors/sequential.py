"""Everything in the caller's thread, one task at a time, so that a debugger works."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class SequentialExecutor(Executor):
    """`submit` returns when the task is done."""

    def __init__(
        self,
        *,
        workers: int | None,  # noqa: ARG002  (there is one: the caller)
        slots: int,  # noqa: ARG002
        initializer: Callable[..., None],
        initargs: tuple[Any, ...],
    ) -> None:
        # A context of its own: a spider that crawls itself must find its seat unchanged after it.
        self._context = contextvars.copy_context()
        self._context.run(initializer, 0, *initargs)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it now. Ctrl-C and the like pass through; other errors are the Future's."""
        future: Future[T] = Future()
        try:
            result = self._context.run(fn, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  (as every Executor does)
            future.set_exception(error)
        else:
            future.set_result(result)
        return future
