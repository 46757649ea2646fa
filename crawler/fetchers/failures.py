"""What went wrong with an exchange, from the error that a library raised."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from crawler.open_files import limit
from crawler.result import Failure

Kinds = Sequence[tuple[tuple[type[BaseException], ...], str, bool]]
"""Types of errors, their kind, and whether another attempt is worth it."""


def classify(
    error: BaseException,
    kinds: Kinds,
    *,
    wrappers: tuple[type[BaseException], ...] = (),
    is_connected: bool,
) -> Failure:
    """The failure of the first row of `kinds` that fits any error of the chain.

    `wrappers` are errors that say less than what is in them. Unless `is_connected`, there never was
    a connection to the host.
    """
    failure = _first_fit(list(_chain(error)), kinds, wrappers) or Failure(
        "connection", _describe(error), retryable=True
    )
    if _is_short_of_files(error):
        message = f"{failure.message}; {limit()} are allowed, raise it with ulimit -n"
        return replace(failure, message=message)
    if is_connected:
        return failure
    return replace(
        failure,
        unreached=failure.retryable and failure.kind in ("timeout", "connection", "dns"),
    )


def _first_fit(
    chain: Iterable[BaseException], kinds: Kinds, wrappers: tuple[type[BaseException], ...]
) -> Failure | None:
    for types, kind, retryable in kinds:
        for each in chain:
            # Wrappers are OSErrors, ValueErrors and timeouts too, whatever is in them: look inside.
            is_wrapper = isinstance(each, wrappers) and not any(
                issubclass(named, wrappers) and isinstance(each, named) for named in types
            )
            if isinstance(each, types) and not is_wrapper:
                is_passing = isinstance(each, socket.gaierror) and each.errno == socket.EAI_AGAIN
                return Failure(kind, _describe(each), retryable=retryable or is_passing)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made from, the deepest first: that one knows what happened."""
    found: list[BaseException] = []
    queue = [error]
    while queue:
        current = queue.pop(0)
        if current in found:
            continue
        found.append(current)
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None)]
        queue += [each for each in [*inner, *current.args] if isinstance(each, BaseException)]
    return reversed(found)


def _is_short_of_files(error: BaseException) -> bool:
    return any(
        isinstance(each, OSError) and each.errno in (errno.EMFILE, errno.ENFILE)
        for each in _chain(error)
    )


def _describe(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
