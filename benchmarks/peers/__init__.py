"""The programs that ours is compared with, each a file as a user would write it.

All are called alike: `python FILE STARTS OUT CONCURRENCY`. STARTS holds a URL a line; the hosts of
these are crawled whole. OUT gets a line of JSON a page, in the form that `answers.py` describes.
"""
