"""A page gives `count` items, made from its number: what items cost, and not what parsing does."""

from collections.abc import Iterator
from typing import Any

from crawler import Response, spider


@spider()
def items(response: Response, *, count: int = 100) -> Iterator[Any]:
    """Items as a list of products gives them."""
    page = int(response.url.rpartition("/")[2].removesuffix(".html"))
    for number in range(count):
        yield {
            "page": page,
            "number": number,
            "name": f"The product {number} of page {page}",
            "price": number * 100 + 99,
            "is_sold": number % 3 == 0,
            "link": f"{response.url}#{number}",
        }
