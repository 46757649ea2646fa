"""The same as `pages.py` with lexbor, the parser of the extra `fast`."""

from collections.abc import Iterator
from typing import Any

from crawler import Response, spider


@spider()
def pages(response: Response) -> Iterator[Any]:
    """A page's title and all that it links to."""
    if not response.headers.get("Content-Type", "").startswith("text/html"):
        return
    title = response.lexbor.css_first("title")
    yield {
        "url": response.url,
        "title": title.text() if title else None,
        "links": response.links(),
    }
    yield from response.follow_all()
