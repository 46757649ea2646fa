"""What holds for every exchange, whichever library makes it."""

from __future__ import annotations

from crawler.errors import FetchError
from crawler.result import Failure

MAX_HEADER_BYTES = 256 * 1024
"""Of one answer, those of all 1xx answers before it included. Servers send some hundred bytes to
ten thousand; http.client alone would take 100 lines of 64 KiB, for each 1xx anew."""


def refused(host: str, address: str) -> FetchError:
    """The failure of an exchange that may not go to a private address."""
    return FetchError(
        Failure(
            "address",
            f"{host} is at {address}, a private address where this request may not go; "
            "see the setting private_addresses",
        )
    )
