"""What tells crawlers where to go: robots.txt and sitemaps, and all that can be wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from crawler.demo import hostile
from crawler.demo.exchange import (
    Answer,
    Handler,
    Request,
    Script,
    gzip,
    head,
    html_page,
    json_answer,
    page,
    redirect,
)
from crawler.demo.posts import PAGES


def robots_txt(request: Request) -> Answer | Script:
    """The robots.txt; POST /robots/KIND chooses another kind of it."""
    return ROBOTS[request.site.robots](request)


def robots_kind(request: Request) -> Answer | Script:
    """That kind of robots.txt; by POST, /robots.txt is of that kind from then on."""
    chosen = request.kind(ROBOTS)
    if request.method != "POST":
        return chosen(request)
    request.site.robots = request.arguments["kind"]
    return json_answer({"robots": request.site.robots})


def sitemap(request: Request) -> Answer | Script:
    """The sitemap: an index of two, of which one is packed."""
    return SITEMAPS["index.xml"](request)


def sitemap_kind(request: Request) -> Answer | Script:
    """That kind of sitemap."""
    return request.kind(SITEMAPS)(request)


def _rules(*lines: str, status: int = 200, encoding: str = "utf-8") -> Handler:
    body = "".join(f"{line}\n" for line in lines).encode(encoding)
    return lambda _request: Answer(body, status=status, content_type="text/plain")


def _friendly(request: Request) -> Answer:
    lines = "User-agent: *", "Disallow: /private", f"Sitemap: {_here(request)}/sitemap.xml"
    return Answer("".join(f"{line}\n" for line in lines).encode(), content_type="text/plain")


def _big(_request: Request) -> Answer:
    """Over a megabyte; the rule that counts stands at its end."""
    rules = "User-agent: nobody\nDisallow: /\n" * 40_000 + "\n".join(_DENY)
    return Answer(rules.encode(), content_type="text/plain")


_DENY = ("User-agent: *", "Disallow: /")

ROBOTS: dict[str, Handler] = {
    "allow": _friendly,
    "deny": _rules(*_DENY),
    "crawl-delay": _rules("User-agent: *", "Crawl-delay: 0.5"),
    "crawl-delay-day": _rules("User-agent: *", "Crawl-delay: 86400"),
    "empty": _rules(),
    "html": lambda _request: page("Welcome", "<h1>Not a robots.txt</h1>\nDisallow: /"),
    "bom": _rules("\ufeff" + _DENY[0], _DENY[1]),
    "half-bom": _rules("\xef\xbb" + _DENY[0], _DENY[1], encoding="latin-1"),
    "utf-16": _rules(*_DENY, encoding="utf-16"),
    "invalid-utf8": _rules("# caf\xe9 \xff\xfe", *_DENY, encoding="latin-1"),
    "big": _big,
    "stars": _rules("User-agent: *", f"Disallow: /{'*1' * 12}*Z"),
    "403": _rules(*_DENY, status=403),
    "404": _rules(*_DENY, status=404),
    "429": _rules(status=429),
    "500": _rules(status=500),
    "503": _rules(status=503),
    "hang": hostile.hang,
    "reset": hostile.reset,
    "redirect": lambda _request: redirect("/robots/deny"),
    "redirect-loop": lambda _request: redirect("/robots.txt"),
}


_NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_LAUGHS = (
    '<!DOCTYPE urlset [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + "]>\n"
)
_EXTERNAL = '<!DOCTYPE urlset [<!ENTITY a9 SYSTEM "file:///etc/hostname">]>\n'


def _here(request: Request) -> str:
    return f"http://{request.site.authority}"


def _url_set(urls: Iterable[str], *, namespace: str = _NAMESPACE, doctype: str = "") -> bytes:
    entries = "".join(f"<url><loc>{escape(url)}</loc></url>\n" for url in urls)
    return f"{_DECLARATION}{doctype}<urlset {namespace}>\n{entries}</urlset>\n".encode()


def _pages(request: Request) -> bytes:
    return _url_set(f"{_here(request)}/text/page/{number}/" for number in range(1, PAGES + 1))


def _index(request: Request, *names: str) -> Answer:
    urls = (f"{_here(request)}/sitemaps/{name}" for name in names)
    entries = "".join(f"<sitemap><loc>{url}</loc></sitemap>\n" for url in urls)
    return _xml(f"{_DECLARATION}<sitemapindex {_NAMESPACE}>\n{entries}</sitemapindex>\n".encode())


def _xml(body: bytes) -> Answer:
    return Answer(body, content_type="application/xml")


def _packed(body: bytes) -> Answer:
    return Answer(body, content_type="application/gzip")


def _deep(request: Request) -> Answer:
    depth = request.count("depth", 1000, most=100_000)
    return _index(request, f"deep.xml?depth={depth - 1}") if depth else _xml(_pages(request))


def _many(request: Request) -> Answer:
    count = request.count("n", 50_001, most=1_000_000)
    return _xml(_url_set(f"{_here(request)}/status/200?{number}" for number in range(count)))


def _elsewhere(request: Request) -> Answer:
    port = request.site.authority.rpartition(":")[2]
    urls = f"{_here(request)}/empty", f"http://127.0.0.2:{port}/empty", "http://a.example/"
    return _xml(_url_set(urls))


def _bomb(_request: Request) -> Script:
    yield head(("Content-Type", "application/gzip"), ("Connection", "close"))
    yield from hostile.bomb(1024)


def _with_entities(doctype: str) -> Handler:
    body = _url_set(["http://a.example/LAUGH"], doctype=doctype).replace(b"LAUGH", b"&a9;")
    return lambda _request: _xml(body)


SITEMAPS: dict[str, Handler] = {
    "index.xml": lambda request: _index(request, "pages.xml", "pages.xml.gz"),
    "pages.xml": lambda request: _xml(_pages(request)),
    "pages.xml.gz": lambda request: _packed(gzip(_pages(request))),
    "packed.xml": lambda request: _xml(gzip(_pages(request))),
    "unpacked.xml.gz": lambda request: _packed(_pages(request)),
    "bom.xml": lambda request: _xml(b"\xef\xbb\xbf" + _pages(request)),
    "no-namespace.xml": lambda request: _xml(_pages(request).replace(_NAMESPACE.encode(), b"")),
    "cut.xml": lambda request: _xml(_pages(request)[:-300]),
    "html.xml": lambda _request: _xml(html_page("Sitemap", "<h1>Not a sitemap</h1>")),
    "elsewhere.xml": _elsewhere,
    "loop.xml": lambda request: _index(request, "loop.xml"),
    "deep.xml": _deep,
    "many.xml": _many,
    "bomb.xml.gz": _bomb,
    "laughs.xml": _with_entities(_LAUGHS),
    "external.xml": _with_entities(_EXTERNAL),
}
