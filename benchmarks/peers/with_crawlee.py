"""Crawlee with parsel: all in memory, a fixed concurrency, nothing logged.

What it does and we don't: it looks like a browser to the server (impit), takes turns with proxies
and sessions, drives browsers in the same way, and fits its concurrency to the load of the machine
(held fixed here). What we do and it doesn't, as it is set here: order, a journal, robots.txt.
"""

import asyncio
import json
import logging
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

from crawlee import ConcurrencySettings
from crawlee.crawlers import ParselCrawler, ParselCrawlingContext
from crawlee.storage_clients import MemoryStorageClient

STARTS, OUT, CONCURRENCY = sys.argv[1], sys.argv[2], int(sys.argv[3])
RETRIES = int(sys.argv[4]) if len(sys.argv) > 4 else 0
TIMEOUT = float(sys.argv[5]) if len(sys.argv) > 5 else 30


async def main() -> None:
    starts = Path(STARTS).read_text().split()
    hosts = {urlsplit(url).netloc for url in starts}
    crawler = ParselCrawler(
        storage_client=MemoryStorageClient(),
        concurrency_settings=ConcurrencySettings(
            min_concurrency=CONCURRENCY,
            desired_concurrency=CONCURRENCY,
            max_concurrency=CONCURRENCY,
        ),
        max_request_retries=RETRIES,
        navigation_timeout=timedelta(seconds=TIMEOUT),
        use_session_pool=False,
        retry_on_blocked=False,
        configure_logging=False,
    )
    with open(OUT, "w") as out:

        @crawler.router.default_handler
        async def page(context: ParselCrawlingContext) -> None:
            if not context.http_response.headers.get("content-type", "").startswith("text/html"):
                return
            # Its own extract_links() leaves out `href=""`, and makes a Request of each link.
            url = context.request.url
            hrefs = context.selector.xpath("//a/@href").getall()
            joined = {urldefrag(urljoin(url, href.strip())).url for href in hrefs}
            links = [link for link in joined if link.startswith(("http://", "https://"))]
            title = context.selector.xpath("//title/text()").get()
            out.write(json.dumps({"url": url, "title": title, "links": links}) + "\n")
            await context.add_requests([link for link in links if urlsplit(link).netloc in hosts])

        await crawler.run(starts)


if __name__ == "__main__":
    logging.disable(logging.ERROR)  # a broken link would be a traceback
    asyncio.run(main())
