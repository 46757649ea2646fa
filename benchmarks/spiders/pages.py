"""Title and links of every page, all of them followed: the same that each peer does."""

from collections.abc import Iterator
from typing import Any

from crawler import Response, spider


@spider()
def pages(response: Response) -> Iterator[Any]:
    """A page's title and all that it links to."""
    if not response.headers.get("Content-Type", "").startswith("text/html"):
        return
    yield {
        "url": response.url,
        "title": response.xpath("//title/text()").get(),
        "links": response.links(),
    }
    yield from response.follow_all()
