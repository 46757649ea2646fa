"""One call of a user's function, with its end as data: a value or an exception."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Arguments = tuple[Any, ...]
Outcome = tuple[bool, Any]
"""(True, what the function returned) or (False, the exception that it raised)."""


def attempt(function: Callable[..., Any], arguments: Arguments) -> Outcome:
    """Call it. Ctrl-C and the like pass through."""
    try:
        return True, function(*arguments)
    except Exception as error:  # noqa: BLE001  (whoever wants the result hears of it)
        # Without this frame: the traceback begins in the user's own function.
        frame = error.__traceback__
        return False, error.with_traceback(frame and frame.tb_next)


def attempt_each(function: Callable[..., Any], batch: Sequence[Arguments]) -> list[Outcome]:
    """Call it for each; one that raises doesn't keep the others from being done."""
    return [attempt(function, arguments) for arguments in batch]
