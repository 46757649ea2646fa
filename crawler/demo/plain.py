"""Answers that keep to the protocol: statuses, delays, redirects, encodings, echoes."""

from __future__ import annotations

import time
import zlib

from crawler.demo.exchange import (
    REASONS,
    Answer,
    BadRequestError,
    Document,
    Header,
    Request,
    gzip,
    html_page,
    json_answer,
    page,
    redirect,
)

_LINE = b"practice makes perfect crawlers\n"
_SOME_PAGE = html_page("A page", "<h1>A page</h1>\n<p>It arrived whole.</p>\n" * 50)


def status(request: Request) -> Answer:
    """That status; `?retry_after=` is sent as it is, or `date`: two seconds from now."""
    code = request.count("code", most=599)
    if code < 200:
        raise BadRequestError("a final status is 200 to 599")
    headers: tuple[Header, ...] = ()
    wait = request.arguments.get("retry_after")
    if wait == "date":
        wait = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
    if wait is not None:
        headers = (("Retry-After", wait),)
    if code in (204, 304):
        return Answer(status=code, content_type="", headers=headers)
    return page(str(code), f"<h1>{REASONS.get(code, code)}</h1>", status=code, headers=headers)


def delay(request: Request) -> Answer:
    """A good page, that many seconds late."""
    return page("Late", "<h1>Better late</h1>", after=request.number("seconds", most=3600))


def flaky(request: Request) -> Answer:
    """Fails the first `fails` times that this key is asked for, with `status`; then it is well."""
    request.site.attempts[request.path] += 1
    attempt = request.site.attempts[request.path]
    if attempt <= request.count("fails", 2):
        code = request.count("status", 503, most=599)
        return page(str(code), f"<h1>Attempt {attempt} failed</h1>", status=code)
    return page("Well", f"<h1>Attempt {attempt} succeeded</h1>")


def redirect_chain(request: Request) -> Answer:
    """That many redirects, then a page."""
    left = request.count("times", most=10_000)
    if left:
        return redirect(f"/redirect/{left - 1}")
    return page("Arrived", "<h1>Arrived</h1>")


def redirect_loop(request: Request) -> Answer:
    """Redirects to another address, which redirects back."""
    return redirect("/redirect-loop" if request.arguments.get("back") else "/redirect-loop?back=1")


def redirect_to(request: Request) -> Answer:
    """Redirects to `url`, sent as it is, whatever scheme and host; with `status`, or 302."""
    return redirect(request.arguments.get("url", "/"), request.count("status", 302, most=399))


def gzipped(_request: Request) -> Answer:
    """A page in gzip, asked for or not."""
    return Answer(gzip(_SOME_PAGE), headers=(("Content-Encoding", "gzip"),))


def deflated(request: Request) -> Answer:
    """A page in deflate; with `?raw=1` without the zlib frame, as some servers send it."""
    packer = zlib.compressobj(wbits=-15 if request.arguments.get("raw") else 15)
    body = packer.compress(_SOME_PAGE) + packer.flush()
    return Answer(body, headers=(("Content-Encoding", "deflate"),))


def gzip_chain(request: Request) -> Answer:
    """A page in gzip, in gzip, and so on, that many times."""
    times = request.count("times", most=100)
    body = _SOME_PAGE
    for _ in range(times):
        body = gzip(body)
    return Answer(body, headers=(("Content-Encoding", ", ".join(["gzip"] * times)),))


def big(request: Request) -> Answer:
    """A text of `mb` megabytes."""
    lines = request.count("mb", 10, most=1024) * 1_048_576 // len(_LINE)
    return Answer(_LINE * lines, content_type="text/plain; charset=utf-8")


def cached(request: Request) -> Answer:
    """A page with an ETag: 304 to a client that has it."""
    return Document(_SOME_PAGE).answer(request)


def partial(_request: Request) -> Answer:
    """Half a page, 206, though nobody asked for a range."""
    half = len(_SOME_PAGE) // 2
    span = f"bytes 0-{half - 1}/{len(_SOME_PAGE)}"
    return Answer(_SOME_PAGE[:half], status=206, headers=(("Content-Range", span),))


def empty(_request: Request) -> Answer:
    """200, and nothing."""
    return Answer()


def no_content(_request: Request) -> Answer:
    """204: nothing, and it says so."""
    return Answer(status=204, content_type="")


def echo(request: Request) -> Answer:
    """What was asked, by any method, as JSON: method, target, headers, body."""
    return json_answer(request.as_json())


def echo_headers(request: Request) -> Answer:
    """The request's headers as JSON."""
    return json_answer(dict(request.headers))
