"""The errors that reach a user, each with a message that says what to do.

    CrawlError
    ├── UsageError               what was asked for can't be done (exit code 2)
    │   ├── SettingError         a bad value of a setting; names the setting and where it came from
    │   └── SpiderNotFoundError  no such spider; names what was looked at
    ├── SpiderImportError        the spider's module failed to import; carries its traceback (1)
    ├── LockedError              another run of the same name is at work (5)
    ├── OutputError              results could not be written (8)
    ├── ImageError               bytes are no picture, a damaged one, too large or too small
    ├── ItemError                an item holds a value that JSON can't hold; fails its page
    ├── PageTimeoutError         a page (or a task of map) took longer than it may; fails it
    ├── Retry                    a spider's way to say that a page is to be fetched again
    ├── FetchError               an exchange failed; carries the Failure; fails or retries its page
    └── WorkerDiedError          a page or task killed its process, also alone in it; fails it

A page that fails is no exception: it is a `Failure` in the result (see `crawler.result`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from crawler.result import Failure


class CrawlError(Exception):
    """The root of this package's errors."""

    exit_code = 1


class UsageError(CrawlError):
    """What was asked for can't be done; nothing was fetched."""

    exit_code = 2


class SettingError(UsageError):
    """A setting has a bad value."""

    def __init__(self, name: str, problem: str, origin: str) -> None:
        super().__init__(f"{name}: {problem} (from {origin})")
        self.name = name
        self.problem = problem
        self.origin = origin


class SpiderNotFoundError(UsageError):
    """No spider of that name where spiders are looked for."""


class SpiderImportError(CrawlError):
    """The spider's module could not be imported; the message ends with its traceback."""


class LockedError(CrawlError):
    """Another run of the same name is at work."""

    exit_code = 5


class OutputError(CrawlError):
    """Results could not be written."""

    exit_code = 8


class ImageError(CrawlError):
    """Bytes can't be taken for a picture.

    `kind` is `no-image` (also damaged ones), `too-large` (decompression bombs) or `too-small`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)  # all of it, so that it survives the way from a worker
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message


class ItemError(CrawlError):
    """An item holds a value that JSON can't hold."""


class Retry(CrawlError):  # noqa: N818  (a request, not an error of ours)
    """Raised by a spider: the page looks wrong, fetch it again; as often as `retries` says.

    `after` are seconds to wait before; else it waits as after other failures. Raises TypeError or
    ValueError if it is no number, or one below 0.
    """

    def __init__(self, reason: str = "the spider asked for it", *, after: float | None = None):
        super().__init__(reason)
        if after is not None and not isinstance(after, (int, float)):
            raise TypeError(f"after={after!r}: give seconds, a number")
        if after is not None and not 0 <= after < math.inf:
            raise ValueError(f"after={after!r}: give seconds, 0 or more")
        self.after = after


class FetchError(CrawlError):
    """An exchange with a server failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind}: {failure.message}")
        self.failure = failure


class PageTimeoutError(CrawlError, TimeoutError):
    """A page took longer than it may, fetching and spider together; or a task of `map` did."""

    @classmethod
    def left_behind(cls, seconds: float) -> Self:
        """It goes on in its thread, and nobody waits for it."""
        return cls(
            f"not finished after {seconds:g} s; left behind: only mode processes can stop it"
        )


class WorkerDiedError(CrawlError):
    """A task killed the process that worked on it, twice: the second time it was alone in it."""
