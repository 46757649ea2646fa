"""Scrapy: a spider as its tutorial writes it, with the settings that its documentation gives for
speed ("Broad Crawls").

What it does and we don't: middlewares, and the many add-ons that are made of them; a cache. What we
do and it doesn't, as it is set here: order, a journal from which a killed crawl goes on (its
JOBDIR), robots.txt, cookies, retries, redirects.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urlsplit

import scrapy
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.linkextractors import LinkExtractor

STARTS, OUT, CONCURRENCY = sys.argv[1], sys.argv[2], int(sys.argv[3])
RETRIES = int(sys.argv[4]) if len(sys.argv) > 4 else 0
TIMEOUT = float(sys.argv[5]) if len(sys.argv) > 5 else 30

SETTINGS = {
    "CONCURRENT_REQUESTS": CONCURRENCY,
    "CONCURRENT_REQUESTS_PER_DOMAIN": CONCURRENCY,
    "SCHEDULER_PRIORITY_QUEUE": "scrapy.pqueues.DownloaderAwarePriorityQueue",
    "REACTOR_THREADPOOL_MAXSIZE": 20,
    "ASYNCIO_EVENT_LOOP": "uvloop.Loop",
    "LOG_LEVEL": "ERROR",
    "COOKIES_ENABLED": False,
    "RETRY_ENABLED": RETRIES > 0,
    "RETRY_TIMES": RETRIES,
    "REDIRECT_ENABLED": False,
    "METAREFRESH_ENABLED": False,
    "AUTOTHROTTLE_ENABLED": False,
    "ROBOTSTXT_OBEY": False,
    "DOWNLOAD_TIMEOUT": TIMEOUT,
    "REFERER_ENABLED": False,
    "TELNETCONSOLE_ENABLED": False,
    "MEMUSAGE_ENABLED": False,
    "DOWNLOADER_STATS": False,
    "FEEDS": {OUT: {"format": "jsonlines"}},
}


class Pages(scrapy.Spider):
    name = "pages"
    starts = Path(STARTS).read_text().split()
    allowed_domains = tuple(urlsplit(url).hostname for url in starts)
    extractor = LinkExtractor(tags="a", deny_extensions=[])

    async def start(self) -> AsyncIterator[Any]:
        # Those of `start_urls` would be fetched twice if a link leads there.
        for url in self.starts:
            yield scrapy.Request(url)

    def parse(self, response: Any) -> Iterator[Any]:
        if not isinstance(response, scrapy.http.HtmlResponse):
            return
        joined = {urldefrag(link.url).url for link in self.extractor.extract_links(response)}
        links = [link for link in joined if link.startswith(("http://", "https://"))]
        title = response.xpath("//title/text()").get()
        yield {"url": response.url, "title": title, "links": links}
        for link in links:
            yield scrapy.Request(link)


if __name__ == "__main__":
    process = AsyncCrawlerProcess(SETTINGS)
    process.crawl(Pages)
    process.start()
