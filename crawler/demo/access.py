"""Who may see what: cookies, a login form with a session, HTTP authentication."""

from __future__ import annotations

import zlib
from base64 import b64encode
from urllib.parse import parse_qsl

from crawler.demo.exchange import Answer, Request, json_answer, page, redirect

USER, PASSWORD = "reader", "practice"

_FORM = """<h1>Log in</h1>
<form method="post" action="/login">
<input type="hidden" name="token" value="{token}">
<p><input name="user" placeholder="reader"></p>
<p><input name="password" type="password" placeholder="practice"></p>
<p><button>Log in</button></p>
</form>"""


def cookies(request: Request) -> Answer:
    """The cookies that came, as JSON."""
    return json_answer(request.cookies())


def set_cookies(request: Request) -> Answer:
    """Sets each `name=value` as a cookie; attributes in the value are sent too."""
    headers = tuple(("Set-Cookie", f"{key}={text}") for key, text in request.arguments.items())
    return page("Cookies", '<a href="/cookies">See them</a>', headers=headers)


def cookie_flood(request: Request) -> Answer:
    """Sets `n` cookies of 4 KB each."""
    count = request.count("n", 60, most=10_000)
    headers = tuple(("Set-Cookie", f"c{number}={'x' * 4000}") for number in range(count))
    return page("Cookies", "<h1>Too many cookies</h1>", headers=headers)


def login(request: Request) -> Answer:
    """A form with a hidden token; POST user=reader, password=practice and the token."""
    token = _token(request, "form")
    if request.method != "POST":
        return page("Log in", _FORM.format(token=token))
    form = dict(parse_qsl(request.body.decode("latin-1")))
    if form != {"token": token, "user": USER, "password": PASSWORD}:
        return page("403", "<h1>Wrong user, password or token</h1>", status=403)
    return redirect("/private", 303, ("Set-Cookie", f"session={_token(request, USER)}; Path=/"))


def private(request: Request) -> Answer:
    """Only after /login, which it redirects to."""
    if request.cookies().get("session") != _token(request, USER):
        return redirect("/login")
    return page("Private", "<h1>Welcome, reader</h1>")


def basic_auth(request: Request) -> Answer:
    """Only with HTTP authentication: reader, practice."""
    expected = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    if request.header("authorization") == expected:
        return page("Private", "<h1>Welcome, reader</h1>")
    challenge = ("WWW-Authenticate", 'Basic realm="practice"')
    return page("401", "<h1>Who are you?</h1>", status=401, headers=(challenge,))


def _token(request: Request, purpose: str) -> str:
    return f"{zlib.crc32(f'{request.site.seed} {purpose}'.encode()):08x}"
