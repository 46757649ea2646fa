"""This repository's own spiders; `crawl run NAME` finds the function NAME in NAME.py here."""
