"""How many files this process may have open (`ulimit -n`): connections are files too."""

from __future__ import annotations

import resource

from crawler.errors import UsageError

_RESERVE = 40
"""For all but connections: outputs, journal, log, modules that are imported later."""
_PER_WORKER = 4
"""In the process that starts it, for each worker process."""
_MOST_KEPT = 32


def make_room(processes: int, seats: int) -> None:
    """See to it that `processes` of `seats` each can work.

    Raises the soft limit if it is too low; UsageError if that isn't allowed.
    """
    needed = _RESERVE + max(seats, _PER_WORKER * processes)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (ValueError, OSError):
        raise UsageError(
            f"{processes * seats} requests in flight take up to {needed} open files, and only "
            f"{soft} are allowed: raise the limit (ulimit -n) or lower --concurrency and -j"
        ) from None


def hosts_to_keep(seats: int) -> int:
    """To how many hosts each of a process's seats may keep a connection."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_KEPT
    return max(1, min(_MOST_KEPT, (soft - _RESERVE) // seats))


def limit() -> int:
    """How many are allowed now; -1 if there is no limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
