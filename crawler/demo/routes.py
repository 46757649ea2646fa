"""What the site answers where: one table, from which the index page is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from urllib.parse import unquote

from crawler.demo import (
    access,
    directions,
    documents,
    graphs,
    hostile,
    pictures,
    plain,
    qiushibaike,
    reports,
)
from crawler.demo.exchange import Answer, Handler, Request, html_page, page
from crawler.demo.posts import FIRST_POST_ID, FIRST_USER_ID

GET = ("GET", "HEAD")
ANY: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """Which handler answers which paths. Its docstring's first line stands on the index page."""

    pattern: str
    """`{name}` is one segment of the path, `{name...}` all the rest of it."""
    handler: Handler
    examples: Mapping[str, int | None]
    """Targets and the statuses of their answers; None is no HTTP answer at all."""
    methods: tuple[str, ...] = GET
    """Empty is any method."""
    calm: bool = False
    """Whether it is out of the weather: never late, never failing."""
    counted: bool = True
    """Whether its requests show up in the statistics."""


@dataclass(frozen=True, slots=True)
class Section:
    """Routes that belong together."""

    title: str
    about: str
    routes: tuple[Route, ...]


def find(path: str) -> tuple[Route, dict[str, str]]:
    """The route that answers there, and what stands at its pattern's `{names}`."""
    for route in _by_first_segment().get(path.split("/")[1], ()):
        found = _match(route.pattern, path)
        if found is not None:
            return route, found
    return _NOWHERE, {}


def index(_request: Request) -> Answer:
    """This page."""
    return Answer(_index_body())


@cache
def _by_first_segment() -> dict[str, list[Route]]:
    routes: dict[str, list[Route]] = {}
    for section in SECTIONS:
        for route in section.routes:
            routes.setdefault(route.pattern.split("/")[1], []).append(route)
    return routes


def _match(pattern: str, path: str) -> dict[str, str] | None:
    wanted, given = pattern.split("/"), path.split("/")
    if wanted[-1].endswith("...}"):
        last = len(wanted) - 1
        given[last:] = ["/".join(given[last:])]
    if len(wanted) != len(given):
        return None
    found = {}
    for want, have in zip(wanted, given, strict=True):
        if want.startswith("{"):
            found[want.strip("{.}")] = unquote(have)
        elif want != have:
            return None
    return found


def _nowhere(_request: Request) -> Answer:
    """Nothing."""
    return page("404", '<h1>404</h1>\n<p>See <a href="/">what there is</a>.</p>', status=404)


_NOWHERE = Route("", _nowhere, {}, methods=ANY)


def _ok(*targets: str) -> dict[str, int | None]:
    return dict.fromkeys(targets, 200)


def _each(pattern: str, kinds: Iterable[str], status: int | None = 200) -> dict[str, int | None]:
    return {pattern.replace("{kind}", kind): status for kind in kinds}


_AVATAR = f"/system/avtnew/2000/{FIRST_USER_ID}/thumb/20200101.png"

_REPLICA = (
    Route("/text/", qiushibaike.text_page, _ok("/text/")),
    Route(
        "/text/page/{number}/",
        qiushibaike.text_page,
        {"/text/page/13/": 200, "/text/page/14/": 404},
    ),
    Route("/article/{id}", qiushibaike.article, _ok(f"/article/{FIRST_POST_ID}")),
    Route("/commentpage/{id}", qiushibaike.comments, _ok(f"/commentpage/{FIRST_POST_ID}")),
    Route("/users/{id}/", qiushibaike.profile, _ok(f"/users/{FIRST_USER_ID}/")),
    Route("/static/replica.css", qiushibaike.stylesheet, _ok("/static/replica.css")),
    Route("/static/images/{path...}", pictures.image, _ok("/static/images/like.png")),
    Route("/system/avtnew/{path...}", pictures.image, _ok(_AVATAR)),
)

_REPORTS = (
    Route("/", index, _ok("/"), calm=True, counted=False),
    Route("/stats", reports.stats, _ok("/stats"), calm=True, counted=False),
    Route("/stats/reset", reports.forget, {}, methods=("POST",), calm=True, counted=False),
    Route("/requests", reports.recent, _ok("/requests"), calm=True, counted=False),
)

_LINKS = (
    Route("/graph/{seed}/{count}/", graphs.graph_page, _ok("/graph/1/100/")),
    Route(
        "/graph/{seed}/{count}/page/{page}",
        graphs.graph_page,
        _ok("/graph/1/100/page/7", "/graph/1/100/page/7?links=20&redirects=0.2&dead=0.1"),
    ),
    Route(
        "/graph/{seed}/{count}/moved/{page}",
        graphs.graph_redirect,
        {"/graph/1/100/moved/7": 301},
    ),
    Route("/chain/{lists}/{details}/", graphs.chain_list, _ok("/chain/5/20/")),
    Route(
        "/chain/{lists}/{details}/list/{list}",
        graphs.chain_list,
        _ok("/chain/5/20/list/5?latency=0.02&sigma=1"),
    ),
    Route(
        "/chain/{lists}/{details}/detail/{list}/{place}",
        graphs.chain_detail,
        _ok("/chain/5/20/detail/5/20"),
    ),
    Route("/calendar/{year}/{month}/", graphs.calendar, _ok("/calendar/2026/11/")),
    Route("/mirror/{path...}", graphs.mirror, _ok("/mirror/", "/mirror/a/b/a/b/")),
    Route("/session-links/{topic}", graphs.session_links, _ok("/session-links/1")),
    Route("/endless-pages", graphs.endless_pages, _ok("/endless-pages?page=3")),
)

_DIRECTIONS = (
    Route("/robots.txt", directions.robots_txt, _ok("/robots.txt"), calm=True),
    Route(
        "/robots/{kind}",
        directions.robots_kind,
        _each("/robots/{kind}", directions.ROBOTS)
        | {f"/robots/{status}": status for status in (403, 404, 429, 500, 503)}
        | _each("/robots/{kind}", ("redirect", "redirect-loop"), 302)
        | _each("/robots/{kind}", ("hang", "reset"), None),
        methods=(*GET, "POST"),
        calm=True,
    ),
    Route("/sitemap.xml", directions.sitemap, _ok("/sitemap.xml")),
    Route(
        "/sitemaps/{kind}",
        directions.sitemap_kind,
        _each("/sitemaps/{kind}", directions.SITEMAPS),
    ),
)

_PLAIN = (
    Route(
        "/status/{code}",
        plain.status,
        {"/status/404": 404, "/status/429?retry_after=1": 429, "/status/503?retry_after=date": 503},
        methods=ANY,
    ),
    Route("/delay/{seconds}", plain.delay, _ok("/delay/0.2")),
    Route("/flaky/{key}", plain.flaky, {"/flaky/a-key?fails=1000": 503}, methods=ANY),
    Route("/redirect/{times}", plain.redirect_chain, {"/redirect/3": 302, "/redirect/0": 200}),
    Route("/redirect-loop", plain.redirect_loop, {"/redirect-loop": 302}),
    Route(
        "/redirect-to",
        plain.redirect_to,
        {"/redirect-to?url=/empty": 302, "/redirect-to?url=/echo&status=307": 307},
        methods=ANY,
    ),
    Route("/gzip", plain.gzipped, _ok("/gzip")),
    Route("/gzip-chain/{times}", plain.gzip_chain, _ok("/gzip-chain/3")),
    Route("/deflate", plain.deflated, _ok("/deflate", "/deflate?raw=1")),
    Route("/cached", plain.cached, _ok("/cached")),
    Route("/partial", plain.partial, {"/partial": 206}),
    Route("/big", plain.big, _ok("/big?mb=1")),
    Route("/empty", plain.empty, _ok("/empty")),
    Route("/no-content", plain.no_content, {"/no-content": 204}),
    Route("/echo", plain.echo, _ok("/echo"), methods=ANY),
    Route("/headers", plain.echo_headers, _ok("/headers")),
)

_ACCESS = (
    Route("/cookies", access.cookies, _ok("/cookies")),
    Route("/cookies/set", access.set_cookies, _ok("/cookies/set?taste=sweet%3B+Path%3D/cookies")),
    Route("/cookies/flood", access.cookie_flood, _ok("/cookies/flood?n=5")),
    Route("/login", access.login, _ok("/login"), methods=(*GET, "POST")),
    Route("/private", access.private, {"/private": 302}),
    Route("/basic-auth", access.basic_auth, {"/basic-auth": 401}),
)

_DOCUMENTS = (
    Route(
        "/charset/{name}",
        documents.charset,
        _each("/charset/{kind}", documents.TEXTS)
        | _ok(
            "/charset/gbk?declared=meta",
            "/charset/gbk?declared=nowhere",
            "/charset/gbk?as=utf-8",
            "/charset/foo-1",
            "/charset/zlib_codec",
        ),
    ),
    Route("/bytes", documents.all_bytes, _ok("/bytes")),
    Route("/invalid-utf8", documents.invalid_utf8, _ok("/invalid-utf8")),
    Route("/html/bad-base", documents.bad_base, _ok("/html/bad-base")),
    Route("/html/deep", documents.deep, _ok("/html/deep?depth=1000")),
    Route("/html/links", documents.links, _ok("/html/links?n=100")),
    Route("/html/repeated", documents.repeated, _ok("/html/repeated?text=%3Cnod&kb=64")),
    Route("/html/titled", documents.titled, _ok("/html/titled?text=%3D1%2B1")),
    Route("/gallery/", pictures.gallery, _ok("/gallery/")),
    Route("/images/{path...}", pictures.image, _ok("/images/1.png")),
)

_HOSTILE = (
    Route("/hang", hostile.hang, {"/hang": None}),
    Route("/close", hostile.close, {"/close": None}),
    Route("/reset", hostile.reset, {"/reset": None, "/reset?after=500": 200}),
    Route("/drip", hostile.drip, _ok("/drip?bytes=10&interval=0.1")),
    Route("/slow-headers", hostile.slow_headers, _ok("/slow-headers?n=10&interval=0.1")),
    Route("/endless", hostile.endless, _ok("/endless")),
    Route("/length/{kind}", hostile.wrong_length, _each("/length/{kind}", hostile.LENGTHS)),
    Route("/chunked/{kind}", hostile.chunked, _each("/chunked/{kind}", hostile.CHUNKINGS)),
    Route("/chunk-size", hostile.long_chunk_size, _ok("/chunk-size?mb=1")),
    Route("/gzip/{kind}", hostile.broken_gzip, _each("/gzip/{kind}", hostile.GZIPS)),
    Route("/gzip-bomb", hostile.gzip_bomb, _ok("/gzip-bomb?mb=16")),
    Route("/redirect-bomb", hostile.redirect_bomb, {"/redirect-bomb?mb=16": 302}),
    Route("/headers/long", hostile.long_header, _ok("/headers/long?kb=100")),
    Route("/headers/many", hostile.many_headers, _ok("/headers/many?n=1000")),
    Route("/headers/flood", hostile.header_flood, _ok("/headers/flood?mb=1")),
    Route("/headers/broken", hostile.broken_header, _ok("/headers/broken")),
    Route("/early-hints", hostile.early_hints, {"/early-hints": 103}),
    Route("/continue-flood", hostile.continue_flood, {"/continue-flood?n=2000": 100}),
    Route(
        "/bad-redirect/{kind}",
        hostile.bad_redirect,
        _each("/bad-redirect/{kind}", hostile.LOCATIONS, 302),
    ),
    Route("/not-http/{kind}", hostile.not_http, _each("/not-http/{kind}", hostile.NOT_HTTP, None)),
)

SECTIONS = (
    Section(
        "The replica",
        "The /text/ pages of qiushibaike.com, which closed in 2022: 325 stories, made up, in the "
        "markup of its last years. It wants a User-Agent, sets a cookie, knows ETag and gzip.",
        _REPLICA,
    ),
    Section(
        "What a crawl did",
        "The site counts, so that a test can prove what it was asked for. These pages are not "
        "counted themselves.",
        _REPORTS,
    ),
    Section("Links", "Sites of any size, the same for the same numbers; and traps.", _LINKS),
    Section("Directions for crawlers", "As they should be, and as they are.", _DIRECTIONS),
    Section("Plain HTTP", "Statuses, redirects, delays and encodings, by the book.", _PLAIN),
    Section("Who may see what", "Cookies and credentials.", _ACCESS),
    Section("Documents", "They arrive well, and are odd to read.", _DOCUMENTS),
    Section("Hostile answers", "They break the protocol, or never end, or never begin.", _HOSTILE),
)


@cache
def _index_body() -> bytes:
    sections = "\n".join(_section(section) for section in SECTIONS)
    return html_page("The practice site", _INTRODUCTION + sections, head=_STYLE)


def _section(section: Section) -> str:
    rows = "\n".join(_row(route) for route in section.routes)
    return (
        f"<section>\n<h2>{escape(section.title)}</h2>\n<p>{escape(section.about)}</p>\n"
        f"<table>\n{rows}\n</table>\n</section>"
    )


def _row(route: Route) -> str:
    method = "POST " if route.methods == ("POST",) else ""
    summary = (route.handler.__doc__ or "").partition("\n")[0]
    examples = "\n".join(_example(*example) for example in route.examples.items())
    return (
        f"<tr>\n<th>{method}{escape(route.pattern)}</th>\n"
        f"<td>{_code(escape(summary))}\n<p>{examples}</p></td>\n</tr>"
    )


def _example(target: str, status: int | None) -> str:
    answer = "no answer" if status is None else str(status)
    return f'<a href="{escape(target)}">{escape(target)}</a> <small>{answer}</small>'


def _code(text: str) -> str:
    """Text in backquotes as code."""
    parts = text.split("`")
    return "".join(f"<code>{part}</code>" if odd % 2 else part for odd, part in enumerate(parts))


_INTRODUCTION = """\
<header>
<h1>The practice site</h1>
<p>A web site to learn crawling on, and to test crawlers against. All of it is made up on the spot,
the same for the same seed, and no link leads to anyone else's site.</p>
<p>Start it with <code>--latency</code>, <code>--jitter</code> or <code>--fail</code> and its pages
come late, or fail when first asked for; <code>--help</code> says how.</p>
</header>
"""

_STYLE = """\
<style>
:root { color-scheme: light dark; }
body { max-width: 64rem; margin: 3rem auto; padding: 0 1.5rem; }
body { font: 15px/1.55 system-ui, sans-serif; }
header p { margin: 0.5rem 0; }
h1 { margin: 0; font-size: 2rem; }
h2 { margin: 2.5rem 0 0; font-size: 1.2rem; }
section > p { margin: 0.2rem 0 0.8rem; opacity: 0.75; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
tr { border-top: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
th, td { padding: 0.5rem 0; text-align: left; vertical-align: top; font-weight: normal; }
th { width: 21rem; padding-right: 1rem; overflow-wrap: anywhere; }
th, code, a, small { font-family: ui-monospace, monospace; font-size: 0.87rem; }
td p { margin: 0.1rem 0 0; line-height: 1.9; }
a { color: #2f6fde; text-decoration: none; overflow-wrap: anywhere; }
a:hover { text-decoration: underline; }
small { opacity: 0.55; margin-right: 0.9rem; }
</style>
"""
