"""What came back: a page as the spider sees it. Lives only on the worker.

Everything is made when it is first asked for, so a spider pays only for what it uses. bs4, lxml,
parsel and selectolax are imported here and nowhere else.
"""

from __future__ import annotations

import codecs
import json as jsonlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from crawler.errors import UsageError
from crawler.links import absolute_links, can_be_fetched, join
from crawler.request import Request
from crawler.turns import Turns
from crawler.wording import kind_of

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from parsel import Selector, SelectorList
    from selectolax.lexbor import LexborHTMLParser, LexborNode

T = TypeVar("T")

_MAX_DEPTH = 512  # as in Chromium and WebKit

_soups = Turns(longest=1.0)
"""lxml calls BeautifulSoup for each tag, and takes the GIL anew for it. Sixteen threads that do so
at the same time take five times as long as one after the other."""


class _made_once(Generic[T]):  # noqa: N801  (reads as a decorator)
    """An attribute that is made when it is first asked for.

    `functools.cached_property` does the same, but until Python 3.12 it holds one lock for all
    objects meanwhile: of all threads only one would parse its page.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | Self:
        if instance is None:
            return self
        made = instance.__dict__[self._name] = self._make(instance)
        return made


class Headers(Mapping[str, str]):
    """Response headers: names in any case; repeated ones joined by ", " (RFC 9110, 5.3)."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, tuple[str, str]] = {}
        for name, value in pairs:
            key = name.lower()
            if key in self._fields:
                name, earlier = self._fields[key]
                value = f"{earlier}, {value}"
            self._fields[key] = (name, value)

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


class Response:
    """A fetched page.

    `css` and `xpath` return parsel's SelectorList (`.get()`, `.getall()`, `.re_first()`); `soup` is
    a BeautifulSoup, thirty times as costly, for those who prefer it. Made by hand in a test:
    `Response("https://example.org/", "<h1>Hello</h1>")`.
    """

    def __init__(
        self,
        url: str,
        body: bytes | str = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        request: Request | None = None,
        keep_fragments: bool = False,
    ) -> None:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        if isinstance(body, str):
            self._decoded = ("utf-8", body)  # whatever a header or meta element in it says
            body = body.encode()
            pairs = pairs or [("Content-Type", "text/html; charset=utf-8")]
        self.url = url
        self.body = body
        self.status = status
        self.headers = Headers(pairs)
        self.request = request if request is not None else Request(url)
        self._keep_fragments = keep_fragments
        self.soup_seconds = 0.0
        """CPU seconds that `soup` took to be made."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the request carried along; pagination puts `page` there."""
        return self.request.meta

    @property
    def history(self) -> tuple[str, ...]:
        """The URLs that redirected here, oldest first."""
        return self.request.history

    @_made_once
    def _decoded(self) -> tuple[str, str]:
        return _decode(self.headers.get("Content-Type"), self.body)

    @property
    def encoding(self) -> str:
        """The charset in use: from the BOM, the header, a meta element, or else guessed."""
        return self._decoded[0]

    @property
    def _is_plain_utf8(self) -> bool:
        """Whether parsers may have the body as it is: it need not be written as UTF-8 again."""
        charset, text = self._decoded
        has_bom = self.body.startswith(codecs.BOM_UTF8)
        return charset == "utf-8" and "\ufffd" not in text and not has_bom

    @property
    def text(self) -> str:
        """The body as text; bytes that are wrong in its charset become U+FFFD, never an error."""
        return self._decoded[1]

    @_made_once
    def selector(self) -> Selector:
        """The parsed page."""
        from parsel import Selector

        if self.body and self._is_plain_utf8:  # parsel refuses an empty one
            selector = Selector(body=self.body, type="html", base_url=self.url)
        else:
            selector = Selector(text=self.text, type="html", base_url=self.url)
        error = selector.root.getroottree().parser.error_log.last_error
        if error is not None and error.type_name == "ERR_RESOURCE_LIMIT":
            # libxml2 stops at 2048 elements inside each other and drops the rest of the page.
            return Selector(root=_parse_flat(self.text), type="html", base_url=self.url)
        return selector

    def css(self, query: str) -> SelectorList[Selector]:
        """All matches of a CSS selector; `::text` and `::attr(name)` take text and attributes."""
        # lxml puts what follows a first </html> beside the root; css() from the root misses that.
        return self.selector.xpath("/*").css(query)

    def xpath(self, query: str, **variables: Any) -> SelectorList[Selector]:
        """All matches of an XPath expression; `$name` in it takes the keyword `name`."""
        return self.selector.xpath(query, **variables)

    @_made_once
    def soup(self) -> BeautifulSoup:
        """The page as BeautifulSoup, parsed by lxml."""
        from bs4 import BeautifulSoup

        text = self.text
        began = time.thread_time()
        with _soups.turn():
            soup = BeautifulSoup(text, "lxml")
        self.soup_seconds = time.thread_time() - began
        return soup

    @_made_once
    def lexbor(self) -> LexborHTMLParser:
        """The page parsed by lexbor, in half the time (selectolax, the extra `fast`)."""
        try:
            from selectolax.lexbor import LexborHTMLParser
        except ImportError:
            raise UsageError(
                "response.lexbor needs selectolax: pip install 'crawl-in-order[fast]'"
            ) from None
        return LexborHTMLParser(self.body if self._is_plain_utf8 else self.text)

    def json(self) -> Any:
        """The body parsed as JSON; raises ValueError when it is none."""
        return jsonlib.loads(self.body)

    @_made_once
    def _base_url(self) -> str:
        if not self._is_for_lexbor:
            base = next(self._attributes("href", "base"), "")
        elif _BASE.search(self.text):  # mostly there is none, and lexbor would look everywhere
            element = self.lexbor.css_first("base[href]")
            base = "" if element is None else element.attributes.get("href") or ""
        else:
            base = ""
        url = join(self.url, base)
        return url if can_be_fetched(url) else self.url  # as if `javascript:` were not there

    def urljoin(self, href: str) -> str:
        """`href` as an absolute URL, as a browser on this page would read it (`<base>` counts).

        One that is no URL ("http://[bad") comes back as it is: a broken link must not cost a page.
        """
        return join(self._base_url, href)

    def links(self) -> list[str]:
        """Where the page links to: absolute URLs of its `<a>` and `<area>`, in their order.

        Each once, without fragments, and only what can be fetched: no `mailto:`.
        """
        return list(self._links)

    @_made_once
    def _links(self) -> tuple[str, ...]:
        if self._is_for_lexbor:
            found = [each.attributes for each in self.lexbor.css("a[href], area[href]")]
            # An `xlink:href`, which links in SVG may have, is found as well.
            hrefs = [each["href"] or "" for each in found if "href" in each]
        else:
            hrefs = list(self._attributes("href", "a", "area"))
        return tuple(self._absolute(hrefs))

    @property
    def _is_for_lexbor(self) -> bool:
        """Whether lexbor is to find the links: it is there, and the page isn't parsed yet."""
        if "selector" in self.__dict__:
            return False
        return "lexbor" in self.__dict__ or _has_lexbor()

    def _absolute(self, hrefs: Iterable[str]) -> Iterator[str]:
        return absolute_links(self._base_url, hrefs, keep_fragments=self._keep_fragments)

    def follow(self, target: str | Selector | Tag | LexborNode, **request: Any) -> Request:
        """A request for a link of this page: a URL, absolute or not, or an element or attribute.

        An element is a Selector, a Tag of the soup or a node of lexbor, and has `href` or `src`.
        `request` are fields of the Request: `callback=`, `meta=`, `headers=` ... Yield it, and its
        page's items come after those of all pages that are asked for before.
        """
        return Request(self.urljoin(_href_of(target)), **request)

    def follow_all(
        self, *, css: str | None = None, xpath: str | None = None, **request: Any
    ) -> Iterator[Request]:
        """A request for each link that a selector finds: elements with an `href`, or attributes.

        Without a selector, for all `links()`. Each URL once, without its fragment (unless the
        crawl keeps fragments). Links that can't be fetched (`mailto:`, `javascript:`,
        `http://[bad`) are left out, and so is `<a id="here">`, which marks a place. A `<li>` that
        was meant to be a link raises.
        """
        if css is not None and xpath is not None:
            raise TypeError("give follow_all() either css= or xpath=, not both")
        if css is None and xpath is None:
            urls: Iterable[str] = self._links
        else:
            urls = self._absolute(_hrefs(self._matches(css=css, xpath=xpath)))
        for url in urls:
            yield Request(url, **request)

    def _attributes(self, name: str, *tags: str) -> Iterator[str]:
        """Of all elements with these tags, in half the time of an XPath expression.

        What is in a template is no part of the page, until a script makes it one.
        """
        for top in self.selector.root.xpath("/*"):
            has_templates = next(top.iter("template"), None) is not None
            for element in top.iter(*tags):
                value = element.get(name)
                if value is not None and not (has_templates and _is_in_template(element)):
                    yield value

    def _matches(self, *, css: str | None = None, xpath: str | None = None) -> list[Any]:
        """What a selector finds, as lxml gives it: elements and strings; a Selector costs more."""
        from lxml import etree  # type: ignore[import-untyped]
        from parsel.csstranslator import css2xpath

        root = self.selector.root
        if css is not None:
            xpath = css2xpath(css)
        found: list[Any] = []
        for top in [root] if css is None else root.xpath("/*"):
            try:
                matches = top.xpath(xpath, namespaces=self.selector.namespaces, smart_strings=False)
            except etree.XPathError as error:
                raise ValueError(f"XPath error: {error} in {xpath}") from None
            found += matches if isinstance(matches, list) else [str(matches)]
        return found

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.url} ({len(self.body)} bytes)>"


def _is_in_template(element: Any) -> bool:
    return next(element.iterancestors("template"), None) is not None


@cache
def _has_lexbor() -> bool:
    return find_spec("selectolax") is not None


_BASE = re.compile("<base", re.IGNORECASE)
_LINKS = ("a", "area", "link", "iframe", "frame", "img", "script")


def _href_of(target: object) -> str:
    """Where a URL or an element of any parser leads."""
    if isinstance(target, str):
        return target
    from parsel import Selector

    if isinstance(target, Selector):
        return _href(target.root)
    from bs4 import Tag

    if isinstance(target, Tag):
        return _leads_to(target.name, target.attrs)
    if _has_lexbor():
        from selectolax.lexbor import LexborNode

        if isinstance(target, LexborNode):
            return _leads_to(target.tag, target.attributes)
    given = kind_of(target)
    if target is None:
        given = "None: what was looked for is not on the page"
    elif isinstance(target, list):
        given += ": follow each of its elements, or use follow_all(css=...)"
    raise TypeError(
        "follow() takes a URL or an element (a Selector, a Tag of BeautifulSoup, a node of "
        f"lexbor), not {given}"
    )


def _href(root: Any) -> str:
    """What a selector found: a text or attribute, or an element, of which it is where it leads."""
    return root if isinstance(root, str) else _leads_to(root.tag, root)


def _leads_to(tag: str | None, attributes: Any) -> str:
    href: str | None = attributes.get("href", attributes.get("src"))
    if href is None:
        raise ValueError(f"<{tag}> has neither href nor src to follow")
    return href


def _hrefs(roots: Iterable[Any]) -> Iterator[str]:
    """Without elements that may be links and aren't."""
    for root in roots:
        if isinstance(root, str) or root.tag not in _LINKS:
            yield _href(root)
        elif (href := root.get("href", root.get("src"))) is not None:
            yield href


def _decode(content_type: str | None, body: bytes) -> tuple[str, str]:
    """(charset, text) by the rules browsers follow, as w3lib implements them."""
    from w3lib.encoding import (
        html_body_declared_encoding,
        html_to_unicode,
        http_content_type_encoding,
        read_bom,
    )

    in_header = http_content_type_encoding(content_type)
    declared = in_header or html_body_declared_encoding(body)
    if declared is not None and declared.startswith("utf-16") and read_bom(body)[0] is None:
        # Who says so in ASCII is not in UTF-16; and without a mark, the low byte comes first.
        declared = {None: "utf-8", "utf-16": "utf-16-le"}.get(in_header, declared)
        content_type = f"text/html; charset={declared}"
    if declared is not None and not _is_for_text(declared):
        return "utf-8", body.decode(errors="replace")
    try:
        charset, text = html_to_unicode(content_type, body, auto_detect_fun=_guess_charset)
        if charset != "utf-8":  # which gives no half surrogates
            text.encode()
    except (LookupError, UnicodeError):
        return "utf-8", body.decode(errors="replace")
    return charset, text


# The encodings of the WHATWG standard, as Python calls them. Other codecs make no text (hex, zlib),
# half surrogates (unicode_escape), or take quadratic time (punycode), and a page can name any.
_CHARSET_NAMES = """
    ascii utf-8 utf-16 utf-16-le utf-16-be cp866 koi8-r koi8-u mac-roman mac-cyrillic cp874
    cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 iso8859-1 iso8859-2 iso8859-3
    iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-10 iso8859-11 iso8859-13
    iso8859-14 iso8859-15 iso8859-16 gb2312 gbk gb18030 big5 big5hkscs cp950 euc_jp iso2022_jp
    shift_jis cp932 euc_kr cp949
"""
_CHARSETS = frozenset(_CHARSET_NAMES.split())


def _is_for_text(charset: str) -> bool:
    try:
        return codecs.lookup(charset).name in _CHARSETS
    except LookupError:
        return False


def _guess_charset(body: bytes) -> str:
    """For pages that declare nothing: UTF-8 when it fits, else what a detector says."""
    try:
        body.decode()
    except UnicodeDecodeError:
        import charset_normalizer

        best = charset_normalizer.from_bytes(body[:65_536]).best()
        return best.encoding if best is not None and _is_for_text(best.encoding) else "cp1252"
    return "utf-8"


def _parse_flat(text: str) -> Any:
    """The page's tree cut to `_MAX_DEPTH`: an element that is deeper becomes a neighbour."""
    from lxml import etree

    parser = etree.HTMLParser(target=_FlatTree(etree.TreeBuilder()), encoding="utf-8")
    return etree.fromstring(text.encode(), parser)


class _FlatTree:
    """What the parser tells of a page (lxml's target interface), built into a tree."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self._builder.start("html", {})
        self._depth = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "html":  # ours is open, also for what follows a first </html>
            return
        self._depth += 1
        self._builder.start(tag, attributes)
        if self._depth > _MAX_DEPTH:
            self._builder.end(tag)

    def end(self, tag: str) -> None:
        if tag == "html":
            return
        if self._depth <= _MAX_DEPTH:
            self._builder.end(tag)
        self._depth -= 1

    def data(self, text: str) -> None:
        self._builder.data(text)

    def close(self) -> Any:
        self._builder.end("html")
        return self._builder.close()
