"""Posts of qiushibaike.com, in each layout that its pages had from 2015 until it closed.

A layout is a dict of CSS selectors: `posts` finds the posts in a page, the others a field in a
post. Where several match, the first that is not blank counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crawler import Response, spider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parsel import Selector

# Lists (/text/, /hot/, /pic/ ... 2015 to 2022, /8hr/ until 2018) and article pages until 2018.
LIST = {
    "posts": 'div[id^="qiushi_tag_"]',
    "id": ":scope::attr(id)",
    # The picture's alt has the whole name; the text beside it is cut after ten characters.
    "author": "div.author img::attr(alt), div.author h2::text, div.author > a::text",
    "author_url": 'div.author a[href*="/users/"]::attr(href)',
    "author_image": "div.author img::attr(src)",
    "man": "div.manIcon",
    "woman": "div.womenIcon",
    "age": "div.articleGender::text",
    "content": "div.content",
    "truncated": "span.contentForAll",
    "images": "div.thumb img::attr(src)",
    "video": "video::attr(src), video source::attr(src)",
    "votes": "span.stats-vote i::text",
    "up": 'li[id^="vote-up-"] span::text',
    "down": 'li[id^="vote-dn-"] span::text',
    "comments": "span.stats-comments i::text",
    "god_author": "a.indexGodCmt span.cmt-name::text",
    "god_text": "a.indexGodCmt div.main-text",
    "god_likes": "a.indexGodCmt div.likenum::text",
    "type": ":scope::attr(class)",
}

# The other layouts say where they differ from LIST; the rest of its selectors finds nothing there.

# Article pages from 2018: author and votes stand around the post, so the whole page is the post.
ARTICLE = LIST | {
    "posts": 'html:has(h1.article-title):has(div[id^="qiushi_tag_"])',
    "id": 'div[id^="qiushi_tag_"]::attr(id)',
    "author": ".side-left-userinfo img::attr(alt), .side-user-name::text",
    "author_url": '.side-left-userinfo a[href*="/users/"]::attr(href), '
    'a.side-left-userinfo[href*="/users/"]::attr(href)',
    "author_image": ".side-left-userinfo img::attr(src)",
    "man": ".side-fans-num.userM",
    "woman": ".side-fans-num.userF",
    "age": ".side-fans-num::text",
    "content": 'div[id^="qiushi_tag_"] div.content',
    "images": 'div[id^="qiushi_tag_"] div.thumb img::attr(src)',
    "type": "#single-next-link::attr(class)",
}

# What telephones got. Its "boring" number is always 8.5 % of the laughs: no votes, left out.
TOUCH = LIST | {
    "posts": 'article:has(a[href*="/article/"])',
    "id": 'a[href*="/article/"]::attr(href)',
    "author": "a.username::text",
    "author_url": 'a.username[href*="/users/"]::attr(href)',
    "author_image": "a.avatar::attr(style)",
    "man": "div.maleBox",
    "woman": "div.femaleBox",
    "age": "i.age::text",
    "content": "a.text",
    "truncated": "span.fullArtitle",
    "images": ":scope > img::attr(src), :scope > :not(header):not(.hotComment) img::attr(src)",
    "votes": "i.icon-laugh + i::text",
    "comments": "i.icon-comment + i::text",
    "god_author": "div.hotComment span.username::text",
    "god_text": "div.hotComment span.text",
    "god_likes": "div.hotComment i.num::text",
}

# /8hr/ from 2018. Tried last, because article pages recommend other posts in such a list.
RECOMMENDED = LIST | {
    "posts": 'li[id^="qiushi_tag_"]',
    "author": "a.recmd-user img::attr(alt), span.recmd-name::text",
    "author_url": 'a.recmd-user[href*="/users/"]::attr(href)',
    "author_image": "a.recmd-user img::attr(src)",
    "content": "a.recmd-content",
    "images": "a.recmd-left:not(.word) img::attr(src)",
    "votes": 'span:has(+ span:contains("好笑"))::text',
    "comments": 'span:has(+ span:contains("评论"))::text',
}

TYPES = r"(?<![a-z])(hot|long|old|recent|word|image|multi|video)(?![a-z])"
# What stands in a text but is no part of it: the link to the rest of a post, a comment's likes.
NOT_TEXT = "ancestor::*[contains(' contentForAll fullArtitle likenum ', concat(' ', @class, ' '))]"


@spider(
    url="https://www.qiushibaike.com/text/page/{page}/",
    practice_site="qiushibaike.com closed on 2022-12-29",
    pages=13,
)
def qiushibaike(response: Response) -> Iterator[dict[str, Any]]:
    """Posts of qiushibaike.com: text, author, votes, pictures and the best comment.

    What a layout does not show is None. `id` and `author_id` are strings of digits, as in most
    published spiders: names, nothing to count with. `content` and the best comment's text read as
    in a browser: `<br>` begins a line, other white space is one space, and no two lines in a row
    are blank; where a post is truncated, "…" ends it. `vote_down` is negative, so that `stats_vote`
    is `vote_up + vote_down`. An `anonymous` post names nobody. `position` counts from 1.
    """
    for layout in (ARTICLE, LIST, TOUCH, RECOMMENDED):
        elements = response.css(layout["posts"])
        if elements:
            break
    page = page_number(response)
    for position, element in enumerate(elements, start=1):
        post = Post(element, layout, response)
        post_id = post.match("id", r"(?:qiushi_tag_|/article/)(\d+)")
        image_urls = [response.urljoin(src) for src in post.texts("images")]
        comments = post.number("comments")
        if layout is RECOMMENDED and not post.has("comments"):
            comments = 0  # this layout leaves the number out when there are none
        god_comment = {
            "author": post.match("god_author", r"(.+?)：?$"),
            "text": post.lines("god_text"),
            "likes": post.number("god_likes"),
        }
        yield {
            "id": post_id,
            "url": post_id and response.urljoin(f"/article/{post_id}"),
            "author": post.text("author"),
            "author_id": post.match("author_url", r"/users/(\d+)"),
            "author_url": post.link("author_url"),
            "author_image": post.link("author_image"),
            "author_gender": "man" if post.has("man") else "woman" if post.has("woman") else None,
            "author_age": post.number("age"),
            "anonymous": post.text("author") in (None, "匿名用户"),
            "content": post.lines("content"),
            "content_truncated": post.has("truncated"),
            "content_image": image_urls[0] if image_urls else None,
            "image_urls": image_urls,
            "video_url": post.link("video"),
            "stats_vote": post.number("votes"),
            "vote_up": post.number("up"),
            "vote_down": post.number("down"),
            "stats_comments": comments,
            "god_comment": god_comment if post.has("god_text") else None,
            "article_type": post.match("type", TYPES),
            "page": page,
            "position": position,
        }


def page_number(response: Response) -> int | None:
    """Which page of the list this is: as asked for, or as it says itself, or as its URL does."""
    shown = response.css(".pagination .current::text, .pagebar .current::text").re_first(r"\d{1,9}")
    in_url = re.search(r"/page/(\d{1,9})", response.url)
    number = response.meta.get("page") or shown or (in_url and in_url[1])
    return int(number) if number else None


@dataclass(frozen=True)
class Post:
    """A post in a page, and the layout it is in."""

    element: Selector
    layout: dict[str, str]
    response: Response

    def has(self, field: str) -> bool:
        """Whether the post shows the field at all."""
        return bool(self.element.css(self.layout[field]))

    def texts(self, field: str) -> list[str]:
        """What all matches say, stripped; blank ones left out."""
        return list(filter(None, map(str.strip, self.element.css(self.layout[field]).getall())))

    def text(self, field: str) -> str | None:
        """What the first of them says."""
        return next(iter(self.texts(field)), None)

    def match(self, field: str, pattern: str) -> str | None:
        """The group of the pattern, where it is found in the text."""
        found = re.search(pattern, self.text(field) or "")
        return found[1] if found else None

    def number(self, field: str) -> int | None:
        """The text as a number, such as `1,234` or `-16`; None for any other text."""
        digits = (self.text(field) or "").replace(",", "")
        return int(digits) if re.fullmatch(r"[+-]?\d{1,18}", digits) else None

    def link(self, field: str) -> str | None:
        """The text as an absolute URL; of a style, what is in its `url(...)`."""
        link = self.match(field, r"url\(['\"]?([^'\")]+)") or self.text(field)
        return self.response.urljoin(link) if link else None

    def lines(self, field: str) -> str:
        """All text in the first match, in lines as a browser shows it."""
        first = self.element.css(self.layout[field])[:1]
        nodes = first.xpath(f".//node()[self::text() or self::br][not({NOT_TEXT})]")
        text = "".join(
            re.sub(r"[ \t\r\n\f]+", " ", node.root) if isinstance(node.root, str) else "\n"
            for node in nodes
        )
        text = "\n".join(line.strip() for line in text.split("\n"))
        return re.sub(r"\n{3,}", "\n\n", text).strip()
