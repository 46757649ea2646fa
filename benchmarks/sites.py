"""Sites that are made up, as files: as many pages, links and bytes as a question needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

BRANCHES = 20
"""New pages that a page leads to: three levels hold 8,421 pages."""
_WORDS = "A sentence that says nothing, so that the page is as long as pages are. "


def write_site(folder: Path, *, pages: int, links: int = BRANCHES, size: int = 2_000) -> str:
    """Write pages `0.html`, `1.html` ...; returns the path of the first, from which all are found.

    A page has `links` links, up to BRANCHES of them to pages that no earlier one leads to
    (with none, the first doesn't lead to the others). It is `size` bytes long, or as long as its
    links are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(pages):
        items = "".join(
            f'<li><a href="{link}.html">Page {link}</a></li>\n'
            for link in _links(number, pages, links)
        )
        head = f"<!DOCTYPE html><title>Page {number}</title><h1>Page {number}</h1>\n"
        text = _WORDS * max(0, (size - len(head) - len(items)) // len(_WORDS))
        (folder / f"{number}.html").write_text(f"{head}<ul>{items}</ul><p>{text}</p>\n")
    return "/0.html"


def _links(number: int, pages: int, links: int) -> Iterator[int]:
    branches = min(BRANCHES, links)
    new = range(branches * number + 1, min(branches * (number + 1) + 1, pages))
    yield from new
    for further in range(links - len(new)):
        yield (number + 1 + further * 7) % pages
