"""Scrapy, with the links joined and those that repeat dropped by hand, before it makes Requests.

The rest is as in with_scrapy.py. Scrapy makes a Request, middlewares and all, of each link that a
spider yields; a page of documentation has each of its links several times.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urldefrag, urlsplit

import scrapy
import with_scrapy
from scrapy.crawler import AsyncCrawlerProcess


class Pages(with_scrapy.Pages):
    hosts = frozenset(urlsplit(url).netloc for url in with_scrapy.Pages.starts)

    def parse(self, response: Any) -> Iterator[Any]:
        if not isinstance(response, scrapy.http.HtmlResponse):
            return
        hrefs = response.xpath("//a/@href").getall()
        joined = {urldefrag(response.urljoin(href.strip())).url for href in hrefs}
        links = [link for link in joined if link.startswith(("http://", "https://"))]
        title = response.xpath("//title/text()").get()
        yield {"url": response.url, "title": title, "links": links}
        for link in links:
            if urlsplit(link).netloc in self.hosts:
                yield scrapy.Request(link)


if __name__ == "__main__":
    process = AsyncCrawlerProcess(with_scrapy.SETTINGS)
    process.crawl(Pages)
    process.start()
