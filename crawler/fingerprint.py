"""Which requests are the same: a short, stable hash of what a request asks for. Pure rules."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b

from crawler.canonical import canonical_url
from crawler.request import Request

SIZE = 16
"""Bytes in a fingerprint: among 10 billion URLs, two share one with a chance of 1 in 10 ** 19."""


def fingerprint(
    request: Request, *, keep_fragment: bool = False, drop_parameters: Collection[str] = ()
) -> bytes:
    """16 bytes that two requests share if method, canonical URL, body and session are the same.

    Headers, meta and history don't count; no body is an empty body. The same in every process and
    on every machine, so it may be stored. The options are those of `canonical_url`.
    Raises ValueError if the URL is none.
    """
    url = canonical_url(request.url, keep_fragment=keep_fragment, drop_parameters=drop_parameters)
    body = request.body or b""
    # No space is in a URL, and the length tells where the body begins: no two are written alike.
    head = f"{url} {len(body)} {request.method.upper()}"
    if request.session:
        head = f"{head} {request.session}".rstrip()
    text = f"{head}\n".encode("utf-8", "surrogatepass")
    return blake2b(text + body, digest_size=SIZE).digest()
