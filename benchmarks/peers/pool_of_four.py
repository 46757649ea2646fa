"""What is put into every crawler's first version: `python FILE STARTS OUT CONCURRENCY KIND`.

KIND is `processes` (multiprocessing.Pool), `threads` (multiprocessing.dummy.Pool) or `none`. It
fetches the pages that it is given and writes the title of each; it follows no links.

What it does and we don't: nothing. What we do and it doesn't: a journal, robots.txt, cookies,
retries, limits of any kind, a report of what failed; and one page that fails loses all others.
"""

import json
import multiprocessing
import multiprocessing.dummy
import sys
from pathlib import Path
from typing import Any

import requests
from lxml import html  # type: ignore[import-untyped]


def spyder(url: str) -> dict[str, Any]:
    response = requests.get(url, timeout=30)
    return {
        "url": url,
        "title": html.fromstring(response.content).findtext(".//title"),
        "links": [],
    }


if __name__ == "__main__":
    starts, out, concurrency, kind = sys.argv[1:]
    urls = Path(starts).read_text().split()
    if kind == "none":
        pages = list(map(spyder, urls))
    else:
        module = multiprocessing if kind == "processes" else multiprocessing.dummy
        with module.Pool(int(concurrency)) as pool:
            pages = pool.map(spyder, urls)
    Path(out).write_text("".join(json.dumps(page) + "\n" for page in pages))
