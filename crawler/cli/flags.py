"""Flags that several commands share, as the rest of the program takes them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path


def flag_layers(flags: Mapping[str, object]) -> list[tuple[str, dict[str, object]]]:
    """The flags that were given, each as a layer of settings of its own, to be named in errors."""
    return [
        (
            f"--{name.removesuffix('s') if isinstance(value, tuple) else name}".replace("_", "-"),
            {name: value},
        )
        for name, value in flags.items()
        if value not in (None, ())
    ]


_MAX_LISTED = 1_000_000


def read_urls(sources: tuple[str, ...]) -> list[str] | Iterator[str] | None:
    """What `--urls` names: files, patterns, or stdin; None when it wasn't given.

    A list where its length is worth knowing, else URLs as they come: stdin may be endless.
    """
    from crawler.pages import count_expanded

    if not sources:
        return None
    parts = [_urls_of(source) for source in sources]
    patterns = [source for source in sources if "://" in source]
    if "-" in sources or sum(map(count_expanded, patterns)) > _MAX_LISTED:
        return itertools.chain.from_iterable(parts)
    return [url for part in parts for url in part]


def _urls_of(source: str) -> Iterator[str]:
    from crawler.errors import UsageError
    from crawler.pages import expand, urls_in

    if source == "-":
        return urls_in(sys.stdin)
    try:
        if "://" in source:
            return expand(source)
        return urls_in(Path(source).read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise UsageError(
            f"--urls {source}: the file can't be read: {error.strerror or error} "
            "(a URL begins with http:// or https://)"
        ) from None
    except ValueError as error:
        raise UsageError(f"--urls {source}: {error}") from None
