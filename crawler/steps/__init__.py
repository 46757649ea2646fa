"""Steps that come with the package: each is made with what it needs, `dedupe('id')`.

In crawl.toml and behind `--step` they go by these names; in Python, import them from here.
"""

from __future__ import annotations

from crawler.steps.convert import convert
from crawler.steps.dedupe import dedupe
from crawler.steps.fields import rename, require, select
from crawler.steps.provenance import provenance
from crawler.steps.text import strip_html, strip_space
from crawler.steps.validate import validate

__all__ = [
    "convert",
    "dedupe",
    "provenance",
    "rename",
    "require",
    "select",
    "strip_html",
    "strip_space",
    "validate",
]
