"""Calls of a user's function, with their ends as data: a value or an exception."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Arguments = tuple[Any, ...]
Outcome = tuple[bool, Any]
"""(True, what the function returned) or (False, the exception that it raised)."""


def attempt_each(function: Callable[..., Any], batch: Sequence[Arguments]) -> list[Outcome]:
    """Call it for each; one that raises doesn't keep the others from being done.

    Ctrl-C and the like pass through.
    """
    outcomes: list[Outcome] = []
    left = iter(batch)
    while len(outcomes) < len(batch):
        try:
            for arguments in left:  # within: to enter a `try` for each call takes twice as long
                outcomes.append((True, function(*arguments)))
        except Exception as error:  # noqa: BLE001  (whoever wants the result hears of it)
            # Without this frame: the traceback begins in the user's own function.
            frame = error.__traceback__
            outcomes.append((False, error.with_traceback(frame and frame.tb_next)))
    return outcomes
