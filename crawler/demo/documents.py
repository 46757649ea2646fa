"""Documents that arrive well and are hard to read: charsets, markup without end, odd links."""

from __future__ import annotations

from html import escape

from crawler.demo.exchange import Answer, Request, html_page, page


def all_bytes(_request: Request) -> Answer:
    """The bytes 0 to 255, declared as HTML."""
    return Answer(bytes(range(256)))


def invalid_utf8(_request: Request) -> Answer:
    """Chinese text declared as UTF-8 with bytes in it that aren't, half surrogates among them."""
    good = html_page("坏字节", "<p>前面是好的</p><p>BAD</p><p>后面也是好的</p>")
    return Answer(good.replace(b"BAD", b"\xed\xa0\xbd \xff\xfe \xe4\xbd"))


TEXTS = {
    "utf-8": "你好，爬虫 😀",
    "utf-16": "你好，爬虫 😀",
    "gb18030": "你好，爬虫 😀",
    "gbk": "你好，爬虫",
    "gb2312": "你好，爬虫",
    "big5": "你好，爬蟲",
    "shift_jis": "こんにちは、クローラー",
    "euc-jp": "こんにちは、クローラー",
    "euc-kr": "안녕하세요",
    "windows-1251": "Здравствуй, паук",
    "koi8-r": "Здравствуй, паук",
    "iso-8859-1": "Déjà vu, crawleur",
}


def charset(request: Request) -> Answer:
    """A text in that charset. `?declared=` header, meta or nowhere; `?as=` declares another name.

    A charset that doesn't exist, or is none of text (foo-1, zlib_codec), is declared for UTF-8.
    """
    name = request.arguments["name"].lower()
    declared = request.arguments.get("declared", "header")
    label = request.arguments.get("as", name)
    meta = f'<meta charset="{escape(label)}">\n' if declared == "meta" else ""
    text = TEXTS.get(name, TEXTS["utf-8"])
    body = f"<!DOCTYPE html>\n<html>\n<head>\n{meta}<title>{text}</title>\n</head>\n"
    body += f"<body><p>{text}</p></body>\n</html>\n"
    content_type = f"text/html; charset={label}" if declared == "header" else "text/html"
    return Answer(body.encode(name if name in TEXTS else "utf-8"), content_type=content_type)


def bad_base(request: Request) -> Answer:
    """A base and links that no URL parser takes, and one good link."""
    content = (
        '<a href="http://[">open bracket</a>\n<a href="http://x:99999999/">port</a>\n'
        '<a href="//[bad/">bad host</a>\n<a href="http://a b/">space</a>\n'
        f'<a href="http://{request.site.authority}/empty">good</a>'
    )
    return Answer(html_page("Bad base", content, head='<base href="http://[bad">\n'))


def deep(request: Request) -> Answer:
    """`depth` divs inside each other, and a link at the bottom."""
    depth = request.count("depth", 100_000, most=1_000_000)
    link = '<a href="/empty">bottom</a>'
    return page("Deep", "<div>" * depth + link + "</div>" * depth)


def links(request: Request) -> Answer:
    """`n` links, all different."""
    count = request.count("n", 1000, most=1_000_000)
    return page("Links", "\n".join(f'<a href="/status/200?{i}">{i}</a>' for i in range(count)))


def repeated(request: Request) -> Answer:
    """`kb` kilobytes of `text` over and over: unclosed tags, comments, what parsers hate."""
    text = request.arguments.get("text", "<!--").encode()
    size = request.count("kb", 1024, most=65_536) * 1024
    return Answer(text * (size // max(1, len(text))))


def titled(request: Request) -> Answer:
    """A page with `text` as its title and heading: formulas, control characters, anything."""
    text = request.arguments.get("text", "=1+1")
    return page(text, f"<h1>{escape(text)}</h1>")
