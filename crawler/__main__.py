"""`python -m crawler` is `crawl`."""

from crawler.cli import main

main()
