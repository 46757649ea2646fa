"""The same spider thrice, with what users parse pages with: BeautifulSoup, parsel, selectolax."""

from collections.abc import Iterator
from typing import Any

from crawler import Response, spider


def is_page(response: Response) -> bool:
    """Whether it is HTML."""
    return response.headers.get("Content-Type", "").startswith("text/html")


def record(response: Response, title: str | None, hrefs: list[str]) -> dict[str, Any]:
    """The common form, from hrefs as they stand in the page."""
    links = {response.urljoin(href).partition("#")[0] for href in hrefs}
    http = sorted(link for link in links if link.startswith(("http://", "https://")))
    return {"url": response.url, "title": title, "links": http}


@spider()
def with_soup(response: Response) -> Iterator[Any]:
    """BeautifulSoup, on lxml."""
    if is_page(response):
        title = response.soup.title
        hrefs = [str(a["href"]) for a in response.soup.find_all("a", href=True)]
        page = record(response, title.get_text() if title else None, hrefs)
        yield page
        yield from map(response.follow, page["links"])


@spider()
def with_parsel(response: Response) -> Iterator[Any]:
    """parsel, which is what `response.css` and `response.xpath` are."""
    if is_page(response):
        hrefs = response.css("a::attr(href)").getall()
        page = record(response, response.css("title::text").get(), hrefs)
        yield page
        yield from map(response.follow, page["links"])


@spider()
def with_selectolax(response: Response) -> Iterator[Any]:
    """selectolax, on lexbor."""
    from selectolax.lexbor import LexborHTMLParser

    if is_page(response):
        tree = LexborHTMLParser(response.text)
        title = tree.css_first("title")
        hrefs = [a.attributes["href"] or "" for a in tree.css("a[href]")]
        page = record(response, title.text() if title else None, hrefs)
        yield page
        yield from map(response.follow, page["links"])
