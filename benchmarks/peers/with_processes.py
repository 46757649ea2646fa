"""`multiprocessing.Pool` and requests, level by level, parsed by lxml; a process a core.

What it does and we don't: nothing. What we do and it doesn't: order, a journal, robots.txt,
retries, limits of any kind, a report of what failed; and a worker that dies hangs the pool.
"""

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import requests
from lxml import html  # type: ignore[import-untyped]

STARTS, OUT = sys.argv[1], sys.argv[2]
session = requests.Session()


def fetch(url: str) -> dict[str, Any] | None:
    response = session.get(url, timeout=30)
    content_type = response.headers.get("Content-Type", "")
    if response.status_code != 200 or not content_type.startswith("text/html"):
        return None
    page = html.document_fromstring(response.content)
    joined = {urldefrag(urljoin(url, href.strip())).url for href in page.xpath("//a/@href")}
    links = [link for link in joined if link.startswith(("http://", "https://"))]
    return {"url": url, "title": page.findtext(".//title"), "links": links}


def main() -> None:
    level = Path(STARTS).read_text().split()
    hosts = {urlsplit(url).netloc for url in level}
    seen = set(level)
    with open(OUT, "w") as out, multiprocessing.Pool() as pool:
        while level:
            new: set[str] = set()
            for page in pool.imap_unordered(fetch, level, chunksize=4):
                if page is None:
                    continue
                out.write(json.dumps(page) + "\n")
                new |= {u for u in page["links"] if urlsplit(u).netloc in hosts}
            level = sorted(new - seen)
            seen |= new


if __name__ == "__main__":
    main()
