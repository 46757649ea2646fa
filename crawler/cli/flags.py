"""Flags that several commands share, as the rest of the program takes them."""

from __future__ import annotations

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


def read_urls(sources: tuple[str, ...]) -> list[str] | Iterator[str] | None:
    """What `--urls` names: files, patterns, or stdin; None when it wasn't given."""
    from crawler.errors import UsageError
    from crawler.pages import urls_in

    if not sources:
        return None
    if sources == ("-",):
        return urls_in(sys.stdin)  # as they come: stdin may be endless
    found: list[str] = []
    for source in sources:
        if "://" in source:
            found.append(source)
            continue
        try:
            found += urls_in(Path(source).read_text(encoding="utf-8").splitlines())
        except OSError as error:
            raise UsageError(
                f"--urls {source}: the file can't be read: {error.strerror or error} "
                "(a URL begins with http:// or https://)"
            ) from None
    return found
