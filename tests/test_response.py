"""Responses: bytes to text as browsers do it, and what a spider reads from the text."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler import Request, Response
from crawler.response import Headers

URL = "https://example.org/list/1.html"
HAN = "汉字"


def typed(content_type: str, body: bytes) -> Response:
    return Response(URL, body, headers={"Content-Type": content_type})


# ---- Headers ----


def test_headers_have_no_case() -> None:
    headers = Headers([("Content-Type", "text/html")])
    assert headers["content-type"] == headers["CONTENT-TYPE"] == "text/html"
    assert "Content-type" in headers
    assert headers.get("ETag") is None


def test_repeated_headers_are_joined_under_the_first_spelling() -> None:
    headers = Headers([("Vary", "Cookie"), ("ETag", "1"), ("vary", "Accept")])
    assert dict(headers) == {"Vary": "Cookie, Accept", "ETag": "1"}
    assert len(headers) == 2
    assert repr(headers) == "Headers({'Vary': 'Cookie, Accept', 'ETag': '1'})"


def test_a_missing_header_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Headers()["ETag"]


# ---- Text ----


def test_nothing_is_decoded_before_it_is_asked_for() -> None:
    response = Response(URL, HAN.encode())
    assert "_decoded" not in vars(response)
    assert response.text == HAN
    assert "_decoded" in vars(response)
    assert "selector" not in vars(response)


@pytest.mark.parametrize(
    ("content_type", "body", "encoding"),
    [
        ("text/html; charset=gb2312", codecs.BOM_UTF8 + HAN.encode(), "utf-8"),
        ("text/html; charset=utf-8", codecs.BOM_UTF16_LE + HAN.encode("utf-16-le"), "utf-16-le"),
        ("text/html; charset=Big5", "漢字".encode("big5"), "big5hkscs"),
        ("text/html; charset='UTF-8'", HAN.encode(), "utf-8"),
        ("text/html", b'<meta charset="gbk">' + HAN.encode("gbk"), "gb18030"),
        ("", b"<meta http-equiv=Content-Type content='a; charset=gbk'>" + b"\xba\xba", "gb18030"),
        ("text/html; charset=foo-1", b'<meta charset="gbk">' + HAN.encode("gbk"), "gb18030"),
        ("text/html; charset=iso-8859-1", b"\x93quoted\x94", "cp1252"),
        ("text/html", HAN.encode(), "utf-8"),
        ("", b"", "utf-8"),
        ("text/html", b'<meta charset="utf-16">' + HAN.encode(), "utf-8"),
        ("", b'<?xml version="1.0" encoding="UTF-16"?>' + HAN.encode(), "utf-8"),
        ("text/html; charset=utf-16", HAN.encode("utf-16-le"), "utf-16-le"),
        ("text/html; charset=utf-16be", HAN.encode("utf-16-be"), "utf-16-be"),
    ],
)
def test_where_the_charset_is_from(content_type: str, body: bytes, encoding: str) -> None:
    response = typed(content_type, body)
    assert response.encoding == encoding
    assert "\ufffd" not in response.text


def test_a_byte_order_mark_is_no_text() -> None:
    assert Response(URL, codecs.BOM_UTF8 + b"text").text == "text"


def test_gb2312_is_read_as_gb18030_for_pages_use_more_than_it_has() -> None:
    rare = "镕㐀"
    assert typed("text/html; charset=gb2312", rare.encode("gb18030")).text == rare


def test_a_charset_that_nobody_declares_is_guessed() -> None:
    body = "Съешь же ещё этих мягких французских булок, да выпей чаю. ".encode("cp1251") * 20
    assert "французских булок" in Response(URL, body).text


def test_only_what_pages_are_written_in_is_guessed() -> None:
    """Of a byte or two a detector thinks anything, such as EBCDIC."""
    assert Response(URL, b"\xe9").encoding == "cp1252"


def test_invalid_bytes_become_replacement_characters() -> None:
    assert typed("text/html; charset=utf-8", b"a\xed\xa0\xbdb").text == "a\ufffd\ufffd\ufffdb"


NOT_CHARSETS = ["zlib_codec", "hex", "base64", "rot13", "idna", "punycode", "undefined", "foo-1"]


@pytest.mark.parametrize("charset", NOT_CHARSETS)
@pytest.mark.parametrize("place", ["text/html; charset={}", '<meta charset="{}">'])
def test_h24_codecs_of_python_that_make_no_text_do_no_harm(charset: str, place: str) -> None:
    declared = place.format(charset)
    if declared.startswith("<"):
        response = Response(URL, f"{declared}<p>{HAN}".encode())
    else:
        response = typed(declared, f"<p>{HAN}".encode())
    assert response.css("p::text").get() == HAN


def test_a_codec_that_makes_half_surrogates_is_not_believed() -> None:
    response = typed("text/html; charset=unicode_escape", rb"<p>\ud800</p>")
    assert response.css("p::text").get() == r"\ud800"


@pytest.mark.filterwarnings("ignore:.*invalid escape:DeprecationWarning")
@settings(deadline=None)
@given(
    body=st.binary(),
    content_type=st.none()
    | st.text()
    | st.sampled_from([*NOT_CHARSETS, "utf-7", "utf-16", "gbk", "unicode_escape"]).map(
        "text/html; charset={}".format
    ),
)
def test_text_never_raises_and_can_always_be_written(body: bytes, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    Response(URL, body, headers=headers).text.encode()


def test_a_str_body_is_its_text_whatever_it_declares() -> None:
    page = f'<meta charset="gbk">{HAN}'
    assert Response(URL, page).text == page
    assert Response(URL, page, headers={"Content-Type": "text/html; charset=big5"}).text == page
    assert Response(URL, page).body == page.encode()
    assert Response(URL, page).encoding == "utf-8"


# ---- Reading a page ----


def test_css_xpath_and_soup_read_the_same_page() -> None:
    response = Response(URL, '<ul><li class="a b">One<li class="b"><a href="/2">Two</a></ul>')
    assert response.css("li.b ::text").getall() == ["One", "Two"]
    assert response.css("a::attr(href)").get() == "/2"
    assert response.xpath("//li[@class=$name]/text()", name="a b").get() == "One"
    assert [li.get_text() for li in response.soup.find_all("li")] == ["One", "Two"]


def test_what_follows_the_end_of_the_html_belongs_to_the_page() -> None:
    page = "<html><body><p>1</p></body></html>"
    response = Response(URL, f"{page}<p>2</p>\n<!doctype html>{page}")
    assert response.css("p::text").getall() == ["1", "2", "1"]
    assert response.xpath("//p/text()").getall() == ["1", "2", "1"]
    assert [p.get_text() for p in response.soup.find_all("p")] == ["1", "2", "1"]


@pytest.mark.parametrize("body", [b"", b" \n", b"\0", b"<!-- -->", codecs.BOM_UTF8])
def test_h29_an_empty_body_is_a_page_with_nothing_in_it(body: bytes) -> None:
    response = Response(URL, body)
    assert response.css("p, a") == []
    assert response.xpath("//a/@href").get() is None
    assert response.soup.find("a") is None
    assert response.urljoin("2.html") == "https://example.org/list/2.html"


def test_h26_a_page_nested_100000_deep_is_read_to_its_end() -> None:
    page = "<p lang=en>1<div>" + "<div>2" * 100_000 + '<a href="deep">3</a>' + "</div>" * 100_001
    response = Response(URL, f"{'</b>' * 200}{page}<h1>4</h1></body></html><i>5</i>")
    assert response.css("a::attr(href)").getall() == ["deep"]
    assert response.css("p[lang=en]::text, h1::text, i::text").getall() == ["1", "4", "5"]
    assert response.xpath("//div[last()]/ancestor::body/h1/text()").get() == "4"


def test_json() -> None:
    assert Response(URL, json.dumps({"name": HAN})).json() == {"name": HAN}
    assert Response(URL, json.dumps([HAN]).encode("utf-16")).json() == [HAN]
    with pytest.raises(ValueError, match="Expecting value"):
        Response(URL, "<html>").json()


# ---- Links ----


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("2.html", "https://example.org/list/2.html"),
        ("/2", "https://example.org/2"),
        ("//cdn.example.com/2", "https://cdn.example.com/2"),
        ("?page=2", "https://example.org/list/1.html?page=2"),
        ("", URL),
        (" \n /2\t", "https://example.org/2"),
        ("my file?a b#c d", "https://example.org/list/my%20file?a%20b#c%20d"),
        ("mailto:a@example.org", "mailto:a@example.org"),
        ("http://a b/", "http://a b/"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_urljoin(href: str, url: str) -> None:
    assert Response(URL, "").urljoin(href) == url


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://other.example/a/b", "http://other.example/a/2"),
        ("/a/", "https://example.org/a/2"),
        (" \n/a/ ", "https://example.org/a/2"),
        ("", "https://example.org/list/2"),
        ("http://[bad", "https://example.org/list/2"),
    ],
)
def test_h25_the_base_element_counts_unless_it_is_bad(base: str, url: str) -> None:
    assert Response(URL, f'<base target="_top"><base href="{base}">').urljoin("2") == url


BAD_LINKS = ["http://[bad", "//[bad/", "http://x:99999999/", "http://a b/", "http://", "mailto:a@b"]


FIND: dict[str, Callable[[Response, str], Any]] = {
    "a selector": lambda response, css: response.css(css)[0],
    "an attribute": lambda response, css: response.css(css).attrib["href"],
    "a tag of the soup": lambda response, css: response.soup.select_one(css),
    "text of the soup": lambda response, css: response.soup.select(css)[0]["href"],
    "a node of lexbor": lambda response, css: response.lexbor.css_first(css),
}


@pytest.mark.parametrize("find", FIND.values(), ids=FIND)
def test_follow_takes_an_element_of_any_parser(find: Callable[[Response, str], Any]) -> None:
    response = Response(URL, '<a href="2?a=1&amp;b=2">next</a>')
    followed = response.follow(find(response, "a"), meta={"page": 2})
    assert (followed.url, followed.meta) == ("https://example.org/list/2?a=1&b=2", {"page": 2})


@pytest.mark.parametrize("kind", ["a selector", "a tag of the soup", "a node of lexbor"])
def test_follow_takes_src_where_there_is_no_href(kind: str) -> None:
    response = Response(URL, "<iframe src=/frame></iframe><p>none</p>")
    assert response.follow(FIND[kind](response, "iframe")).url == "https://example.org/frame"
    with pytest.raises(ValueError, match="<p> has neither href nor src to follow"):
        response.follow(FIND[kind](response, "p"))


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        (lambda _: 5, "a URL or an element (a Selector, a Tag of BeautifulSoup, a node of lexbor)"),
        (lambda _: 5, "not an int"),
        (lambda response: response.css("b").get(), "not None: what was looked for is not on"),
        (lambda response: response.css("a"), "not a SelectorList: follow each of its elements"),
        (lambda response: response.soup.select("a"), "not a ResultSet: follow each of its"),
    ],
)
def test_follow_says_what_it_takes(target: Callable[[Response], Any], complaint: str) -> None:
    response = Response(URL, "<a href=2>next</a>")
    with pytest.raises(TypeError) as caught:
        response.follow(target(response))
    assert complaint in str(caught.value)


def test_h25_follow_all_leaves_out_what_is_no_url() -> None:
    hrefs = [*BAD_LINKS, "HTTP://good.example/", *BAD_LINKS, "2"]
    page = '<base href="http://[bad">' + "".join(f'<a href="{href}">x</a>' for href in hrefs)
    followed = [request.url for request in Response(URL, page).follow_all(css="a")]
    assert followed == ["http://good.example/", "https://example.org/list/2"]


def test_follow_all_leaves_out_anchors_that_are_no_link() -> None:
    page = '<a id="top"></a><a name="x">x</a><area><a href="2">2</a><li class=next>3</li>'
    response = Response(URL, page)
    followed = [request.url for request in response.follow_all(css="a, area")]
    assert followed == ["https://example.org/list/2"]
    with pytest.raises(ValueError, match="<li> has neither href nor src"):
        list(response.follow_all(css=".next"))


# ---- What it carries ----


def test_meta_and_history_come_from_the_request() -> None:
    request = Request(URL, meta={"page": 2}, history=("https://example.org/old",))
    response = Response(URL, request=request)
    assert response.meta == {"page": 2}
    assert response.history == ("https://example.org/old",)
    assert Response(URL).request == Request(URL)


def test_repr_tells_status_url_and_size() -> None:
    assert repr(Response(URL, b"1234", status=404)) == f"<Response 404 {URL} (4 bytes)>"


@pytest.mark.parametrize("charset", ["punycode", "raw_unicode_escape", "idna", "rot13", "utf-7"])
def test_only_charsets_of_the_web_are_believed(charset: str) -> None:
    """Others are Python's: some take quadratic time, and a page can name any of them."""
    body = b"a-" * 200_000
    response = Response(
        "https://x/", body, headers={"Content-Type": f"text/html; charset={charset}"}
    )
    assert response.encoding == "utf-8"
    assert response.text == body.decode()
