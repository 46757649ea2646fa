"""The script that everybody writes: requests, BeautifulSoup (on lxml, as it recommends), threads.

What it does and we don't: nothing. What we do and it doesn't: order, a journal, robots.txt,
retries, limits of any kind, a report of what failed.
"""

import json
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import requests
from bs4 import BeautifulSoup

STARTS, OUT, CONCURRENCY = sys.argv[1], sys.argv[2], int(sys.argv[3])
threads = threading.local()


def fetch(url: str) -> dict[str, Any] | None:
    if not hasattr(threads, "session"):
        threads.session = requests.Session()
    response = threads.session.get(url, timeout=30)
    content_type = response.headers.get("Content-Type", "")
    if response.status_code != 200 or not content_type.startswith("text/html"):
        return None
    soup = BeautifulSoup(response.content, "lxml")
    joined = {
        urldefrag(urljoin(url, str(a["href"]).strip())).url for a in soup.find_all("a", href=True)
    }
    links = [link for link in joined if link.startswith(("http://", "https://"))]
    return {"url": url, "title": soup.title and soup.title.get_text(), "links": links}


def main() -> None:
    starts = Path(STARTS).read_text().split()
    hosts = {urlsplit(url).netloc for url in starts}
    seen = set(starts)
    with open(OUT, "w") as out, ThreadPoolExecutor(CONCURRENCY) as pool:
        running = {pool.submit(fetch, url) for url in starts}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                page = future.result()
                if page is None:
                    continue
                out.write(json.dumps(page) + "\n")
                new = {u for u in page["links"] if urlsplit(u).netloc in hosts} - seen
                seen |= new
                running |= {pool.submit(fetch, url) for url in new}


if __name__ == "__main__":
    main()
