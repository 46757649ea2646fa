"""The spider of qiushibaike.com: on pages that the site really sent, and on each of their traps.

The saved pages belong to their authors and are no part of this repository. The markup of the traps
is the site's, its words are ours.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler import Request, Response
from spiders.qiushibaike import qiushibaike

URL = "https://www.qiushibaike.com/text/"
SAVED = Path(__file__).parents[2] / "shared" / "data" / "qiushibaike"
PAGES = sorted((SAVED / "pages").glob("*.html"))

needs_saved_pages = pytest.mark.skipif(not PAGES, reason=f"no saved pages in {SAVED}")
every_saved_page = pytest.mark.parametrize(
    "path", PAGES or [pytest.param(SAVED, marks=needs_saved_pages)], ids=lambda path: path.stem
)

FIELDS = {
    "id": str,
    "url": str,
    "author": str | None,
    "author_id": str | None,
    "author_url": str | None,
    "author_image": str | None,
    "author_gender": str | None,
    "author_age": int | None,
    "anonymous": bool,
    "content": str,
    "content_truncated": bool,
    "content_image": str | None,
    "image_urls": list,
    "video_url": str | None,
    "stats_vote": int | None,
    "vote_up": int | None,
    "vote_down": int | None,
    "stats_comments": int | None,
    "god_comment": dict | None,
    "article_type": str | None,
    "page": int | None,
    "position": int,
}


def posts_in(body: str | bytes, url: str = URL, **meta: Any) -> list[dict[str, Any]]:
    return list(qiushibaike(Response(url, body, request=Request(url, meta=meta))))


def the_post_in(body: str | bytes, url: str = URL) -> dict[str, Any]:
    [post] = posts_in(body, url)
    return post


def ink(text: str) -> str:
    """The text without its white space, in which spiders differ."""
    return re.sub(r"\s", "", text)


# ---- Pages that the site sent ----


@needs_saved_pages
def test_one_whole_crawl_of_the_site() -> None:
    paths = [path for path in PAGES if path.name.startswith("2020-11-03_text_p")]
    posts = [post for path in paths for post in posts_in(path.read_bytes())]
    theirs = SAVED / "results" / "liqi-yu_2020-11-03_text_p01-13.json"
    their_text = ink("".join("".join(page["content"]) for page in json.loads(theirs.read_text())))

    assert len(posts) == 325
    assert len({post["id"] for post in posts}) == 325
    assert sum(post["content_truncated"] for post in posts) == 43
    assert sum(post["god_comment"] is not None for post in posts) == 314
    assert all(post["stats_vote"] == post["vote_up"] + post["vote_down"] for post in posts)
    assert all(post["content"] and ink(post["content"]) in their_text for post in posts)
    assert all(post["content"].endswith("…") for post in posts if post["content_truncated"])
    assert [post["page"] for post in posts] == [page for page in range(1, 14) for _ in range(25)]
    assert [post["position"] for post in posts] == 13 * list(range(1, 26))


@every_saved_page
def test_every_post_of_a_page_is_found_and_complete(path: Path) -> None:
    body = path.read_bytes()
    ids = re.findall(rb"""<div [^>]*id=['"]qiushi_tag_(\d+)""", body)
    ids = ids or re.findall(rb"""<a href="/article/(\d+)" class="text\"""", body)

    posts = posts_in(body)

    assert [post["id"] for post in posts] == [number.decode() for number in ids]
    for post in posts:
        assert post["author"]
        assert post["content"] or post["content_image"]
        assert "查看全文" not in post["content"]
        assert post["stats_vote"] is not None
        assert post["stats_comments"] is not None
        assert post["anonymous"] or post["author_url"] or path.name.startswith("2020")


@every_saved_page
def test_every_item_has_every_field_in_one_order_and_type(path: Path) -> None:
    for post in posts_in(path.read_bytes()):
        assert list(post) == list(FIELDS)
        assert all(isinstance(post[field], kind) for field, kind in FIELDS.items())
        links = [post[name] for name in ("url", "author_url", "author_image", "content_image")]
        for link in filter(None, links + post["image_urls"]):
            assert re.match(r"https?://[a-z0-9.]+\.com/\S+$", link)


@needs_saved_pages
def test_posts_agree_with_what_another_spider_read() -> None:
    text = (SAVED / "results" / "mqy1023_2020_text.json").read_text()
    theirs = {
        post["_id"].removeprefix("qiushi_tag_"): post
        for array in re.split(r"(?<=\])\s*(?=\[\s*\{)", text)
        for post in json.loads(array)
    }
    ours = posts_in((SAVED / "pages" / "2020-06-08_text_p1.html").read_bytes())
    both = [(post, theirs[post["id"]]) for post in ours if post["id"] in theirs]

    assert len(both) == 12
    for post, their in both:
        assert post["author"].startswith(their["author"].strip().removesuffix("…"))
        assert ink(post["content"]) in ink("".join(their["content"]))


@every_saved_page
def test_invalid_bytes_cost_no_post(path: Path) -> None:
    body = path.read_bytes()
    half_an_emoji = b"\xed\xa0\xbd"  # the site did send it: half a UTF-16 pair, written as UTF-8
    broken = body.replace("，".encode(), half_an_emoji)

    posts = posts_in(broken)

    assert [post["id"] for post in posts] == [post["id"] for post in posts_in(body)]
    assert any("\ufffd" in post["content"] for post in posts)
    json.dumps(posts, ensure_ascii=False).encode()


@needs_saved_pages
@pytest.mark.parametrize("tenths", range(10))
def test_a_page_that_was_cut_off_gives_the_posts_before(tenths: int) -> None:
    body = (SAVED / "pages" / "2018-05-21_home_p1.html").read_bytes()
    whole = posts_in(body, page=1)

    posts = posts_in(body[: len(body) * tenths // 10], page=1)

    complete = posts[:-1]
    assert complete == whole[: len(complete)]


@needs_saved_pages
def test_saved_fragments_of_the_other_layouts() -> None:
    fragments = SAVED / "fragments"
    recommended = the_post_in((fragments / "2020-06_8hr_item.fragment.html").read_bytes())
    article = the_post_in((fragments / "2021-10-01_article_124737100.fragment.html").read_bytes())

    assert recommended["id"] == "123269490"
    assert (recommended["stats_vote"], recommended["stats_comments"]) == (211, 2)
    assert article["id"] == "124737100"
    assert (article["author_id"], article["stats_vote"]) == ("32109037", 287)
    assert len(article["image_urls"]) == 1


# ---- Traps, one by one ----


def listed(content: str = "<span>Text.</span>", *, author: str = "", rest: str = "") -> str:
    """A post as the lists of 2017 to 2022 have it."""
    return f"""
        <div class="col1"><div class="article block untagged mb15 typs_hot" id='qiushi_tag_7'>
        <div class="author clearfix">{author}</div>
        <a href="/article/7" class="contentHerf" onclick="_hmt.push(['_trackEvent','chick'])">
        <div class="content">{content}</div></a>{rest}</div></div>"""


def votes(shown: str, up: str, down: str, comments: str) -> str:
    return f"""
        <div class="stats"><span class="stats-vote"><i class="number">{shown}</i> 好笑</span>
        <span class="stats-comments"><span class="dash"> · </span>
        <a href="/article/7" class="qiushi_comments">
        <i class="number">{comments}</i> 评论</a></span></div>
        <ul><li id="vote-up-7" class="up"><a href="javascript:voting(7,1)"><i></i>
        <span class="number hidden">{up}</span></a></li>
        <li id="vote-dn-7" class="down"><a href="javascript:voting(7,-1)"><i></i>
        <span class="number hidden">{down}</span></a></li></ul>"""


def touched(header: str = "", text: str = "Text.", rest: str = "") -> str:
    """A post as telephones got it."""
    return f"""
        <main><article class="item tiezi tag_old_3"><header>{header}</header>
        <a href="/article/7" class="text" onclick="_hmt.push(['chick'])">{text}</a>{rest}
        <div class="iconBox">
        <div class="box"><i class="icon icon-laugh"></i><i class="num">801</i></div>
        <div class="box"><i class="icon icon-boring"></i><i class="num">68</i></div>
        <div class="box"><i class="icon icon-comment"></i><i class="num">17</i></div></div>
        </article></main>"""


def recommended(
    numbers: str = "", kind: str = "image", user: str = "", image: str = "//pic.example.com/a.jpg"
) -> str:
    """A post as /8hr/ has it from 2018."""
    return f"""
        <div class="recommend-article"><ul><li class="item typs_{kind}" id='qiushi_tag_8'>
        <a class="recmd-left {kind}" href="/article/8"><img src="{image}" alt="Cut"></a>
        <div class="recmd-right"><a class="recmd-content" href="/article/8">Text.</a>
        <div class="recmd-detail clearfix"><div class="recmd-num">{numbers}</div>{user}</div></div>
        </li></ul></div>"""


def article(user: str, content: str = "Text.", rest: str = "") -> str:
    """An article page from 2018, with a post that it recommends."""
    return f"""
        <html><body><div class="col0" id="articleSideLeft">{user}</div>
        <div class="col1 new-style-col1"><h1 class="article-title">Text.</h1>
        <div class="stats"><span class="stats-vote">好笑数：<i class="number">287</i></span></div>
        <div class="article block untagged noline" id='qiushi_tag_7'>
        <div class="image" id="single-next-link">
        <div class="content">{content}</div>{rest}</div></div>
        {recommended("<span>5</span><span>好笑</span>")}</div></body></html>"""


def test_only_the_first_span_of_the_content_is_text() -> None:
    post = the_post_in(
        listed("<span>\n\nA long text\n…\n</span><span class='contentForAll'>查看全文</span>")
    )
    assert post["content"] == "A long text …"
    assert post["content_truncated"]


def test_br_is_a_line_and_the_sources_line_ends_are_spaces() -> None:
    post = the_post_in(listed("<span>\n One<br/>two\n  words <br> <br><br><br>end\n</span>"))
    assert post["content"] == "One\ntwo words\n\nend"
    assert not post["content_truncated"]


def test_the_time_in_a_comment_is_no_text() -> None:
    assert the_post_in(listed("\nOwn text <!--1455307495-->\n"))["content"] == "Own text"


def test_an_escaped_br_stays_text() -> None:
    assert the_post_in(listed("<span>write &lt;br&gt;</span>"))["content"] == "write <br>"


def test_a_name_is_stripped_and_taken_whole_from_the_picture() -> None:
    author = """<a href="/users/9/"><img src="//pic.example.com/9.JPEG" alt="A long long name"></a>
        <a href="/users/9/"><h2>\nA long lon…\n</h2></a>"""
    post = the_post_in(listed(author=author))
    assert post["author"] == "A long long name"
    assert post["author_id"] == "9"
    assert post["author_url"] == "https://www.qiushibaike.com/users/9/"
    assert post["author_image"] == "https://pic.example.com/9.JPEG"


@pytest.mark.parametrize(
    "author",
    [
        """<a href="/users/9"><img src="/9.jpg"/></a><a href="/users/9">Ann </a>""",
        """<a href="/users/9">\n Ann\n </a>""",
        """<a href="/users/9" target="_blank" title="Ann">\n<h2>\nAnn\n</h2></a>""",
    ],
    ids=["2015", "2015 without picture", "2016"],
)
def test_a_name_without_a_picture_that_says_it(author: str) -> None:
    post = the_post_in(listed(author=author))
    assert (post["author"], post["author_id"], post["anonymous"]) == ("Ann", "9", False)


def test_authors_of_2020_have_no_link() -> None:
    author = (
        """<a rel="nofollow"><img src="//pic.example.com/9.jpg" alt="Ann"></a><a><h2>Ann</h2></a>"""
    )
    post = the_post_in(listed(author=author))
    assert (post["author"], post["author_id"], post["author_url"]) == ("Ann", None, None)
    assert not post["anonymous"]


def test_an_anonymous_post_has_no_gender_for_that_is_commented_out() -> None:
    author = """<span><img src="//static.example.com/anony.png?v=1" alt="匿名用户"></span>
        <span><h2>匿名用户</h2></span><!-- <div class="articleGender manIcon">32</div> -->"""
    post = the_post_in(listed(author=author))
    assert post["anonymous"]
    assert post["author"] == "匿名用户"
    assert (post["author_id"], post["author_gender"], post["author_age"]) == (None, None, None)


def test_a_post_without_author_is_anonymous() -> None:
    post = the_post_in(listed())
    assert post["anonymous"]
    assert post["author"] is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("16", 16), ("\n 1,234 \n", 1234), ("-16", -16), ("", None), ("3w", None), ("9" * 5000, None)],
)
def test_numbers(text: str, number: int | None) -> None:
    post = the_post_in(listed(rest=votes(text, text, text, text)))
    found = [post[name] for name in ("stats_vote", "vote_up", "vote_down", "stats_comments")]
    assert found == [number] * 4


def test_numbers_that_are_absent_are_none() -> None:
    post = the_post_in(listed())
    absent = ("stats_vote", "vote_up", "vote_down", "stats_comments", "god_comment", "video_url")
    assert [post[name] for name in absent] == [None] * 6


@pytest.mark.parametrize("age", ["0", "99", "100"])
@pytest.mark.parametrize(("icon", "gender"), [("manIcon", "man"), ("womenIcon", "woman")])
def test_ages_and_genders(age: str, icon: str, gender: str) -> None:
    post = the_post_in(listed(author=f'<div class="articleGender {icon}">{age}</div>'))
    assert (post["author_gender"], post["author_age"]) == (gender, int(age))


def test_the_class_list_may_change() -> None:
    post = the_post_in(listed().replace("article block untagged mb15 typs_hot", "typs_old new"))
    assert post["article_type"] == "old"
    assert the_post_in(listed().replace("typs_hot", ""))["article_type"] is None


def test_pictures_of_any_scheme_and_spelling_are_absolute_and_in_order() -> None:
    thumbs = """<div class="thumb"><a href="/article/7"><img src="//pic.example.com/1.JPEG"></a>
        <img src="http://pic.example.com/2.gif"><img src="/3.jpg"><img src=""></div>"""
    post = the_post_in(listed(rest=thumbs))
    assert post["content_image"] == "https://pic.example.com/1.JPEG"
    assert post["image_urls"] == [
        "https://pic.example.com/1.JPEG",
        "http://pic.example.com/2.gif",
        "https://www.qiushibaike.com/3.jpg",
    ]


@pytest.mark.parametrize(
    "video",
    [
        '<video src="//v.example.com/1.mp4"></video>',
        '<video src=""><source src="//v.example.com/1.mp4">',
    ],
)
def test_videos(video: str) -> None:
    assert the_post_in(listed(rest=video))["video_url"] == "https://v.example.com/1.mp4"


def test_the_god_comment() -> None:
    rest = """<a href="/article/7" class="indexGodCmt"><div class="cmtMain">
        <span class="cmt-god"></span><span class="cmt-name">Bob：</span>
        <div class="main-text">\nHa<br>ha\n
        <div class="likenum"><img src="/like.png">\n\n 57\n</div></div></div></a>"""
    post = the_post_in(listed(rest=rest))
    assert post["god_comment"] == {"author": "Bob", "text": "Ha\nha", "likes": 57}
    assert post["image_urls"] == []


def test_an_invalid_byte_becomes_a_replacement_character() -> None:
    body = ('<meta charset="UTF-8">' + listed("<span>a%b</span>")).encode().replace(b"%", b"\xed")
    assert the_post_in(body)["content"] == "a\ufffdb"


@pytest.mark.parametrize("half", ["&#55357;", "&#xD83D;"])
def test_a_half_surrogate_by_number_can_be_written_to_a_file(half: str) -> None:
    json.dumps(posts_in(listed(f"<span>a{half}b</span>")), ensure_ascii=False).encode()


def test_where_the_page_number_comes_from() -> None:
    pagination = """<ul class="pagination">
        <li><a href="/text/page/2/"><!--<a href="/text/page/2/">--><span>2</span></a></li>
        <li><span class="current">\n3\n</span></li></ul>"""
    url = "https://www.qiushibaike.com/text/page/4/"
    pages = [
        posts_in(listed() + pagination, url, page=5),
        posts_in(listed() + pagination, url),
        posts_in(listed(), url),
        posts_in(listed()),
    ]
    assert [post["page"] for [post] in pages] == [5, 3, 4, None]


def test_touch_pages() -> None:
    header = """<a href="/users/9/" class="avatar" style="background-image: url(//a.com/9.jpg)"></a>
        <a href="/users/9/" class="username">Ann</a>womenIcon
        <div class="ageBox femaleBox"><i class="icon iconFemale"></i><i class="age">36</i></div>"""
    rest = """<div class="hotComment"><a href="/article/7"><span class="username">Bob：</span>
        <span class="text">Ha[捂脸]</span><i class="num">\n6\n</i></a></div>"""
    text = 'Long<br>text\n…\n<span class="fullArtitle" >查看全文</span>'
    post = the_post_in(touched(header, text, rest))
    assert (post["id"], post["article_type"]) == ("7", "old")
    assert (post["author"], post["author_id"]) == ("Ann", "9")
    assert post["author_image"] == "https://a.com/9.jpg"
    assert (post["author_gender"], post["author_age"]) == ("woman", 36)
    assert (post["content"], post["content_truncated"]) == ("Long\ntext …", True)
    assert (post["stats_vote"], post["vote_down"], post["stats_comments"]) == (801, None, 17)
    assert post["god_comment"] == {"author": "Bob", "text": "Ha[捂脸]", "likes": 6}


def test_an_anonymous_touch_post_links_to_javascript() -> None:
    header = """<a href="javascript:;" class="avatar" style="background: url('/anony.png');"></a>
        <a href="javascript:;" class="username">匿名用户</a><!-- <i class="age">21</i> -->"""
    post = the_post_in(touched(header))
    assert post["anonymous"]
    assert (post["author_url"], post["author_age"]) == (None, None)
    assert post["author_image"] == "https://www.qiushibaike.com/anony.png"


def test_pages_saved_one_behind_the_other_give_all_their_posts() -> None:
    page = f"<!doctype html><html><body>{touched()}</body></html>"
    assert [post["position"] for post in posts_in(page * 4)] == [1, 2, 3, 4]


def test_an_article_element_without_a_post_is_none() -> None:
    assert (
        posts_in('<article class="item"><a href="https://ad.example.com">Buy</a></article>') == []
    )


@pytest.mark.parametrize("link", ["/article/7", "/article/7/", "/article/7?list=hot&s=4768298"])
def test_ids_in_links(link: str) -> None:
    post = the_post_in(touched().replace("/article/7", f"https://m2.qiushibaike.com{link}"))
    assert (post["id"], post["url"]) == ("7", "https://www.qiushibaike.com/article/7")


VOTE_PAIR = "<span>211</span> <span>好笑</span>"
COMMENT_PAIR = "<span>2</span> <span>评论</span>"


@pytest.mark.parametrize(
    ("numbers", "stats_vote", "stats_comments"),
    [
        (f"{VOTE_PAIR}<span>·</span>{COMMENT_PAIR}", 211, 2),
        (VOTE_PAIR, 211, 0),  # 0 comments are not shown
        (COMMENT_PAIR, None, 2),
        ("<span>many</span><span>评论</span>", None, None),
    ],
)
def test_recommended_posts_count_by_label(
    numbers: str, stats_vote: int | None, stats_comments: int | None
) -> None:
    post = the_post_in(recommended(numbers))
    assert (post["stats_vote"], post["stats_comments"]) == (stats_vote, stats_comments)


def test_recommended_posts_have_the_name_whole_and_a_stand_in_picture_if_only_words() -> None:
    user = """<a class="recmd-user" href="/users/9/"><img src="/9.jpg" alt="A long name">
        <span class="recmd-name">A lon...</span></a>"""
    post = the_post_in(recommended(user=user))
    assert (post["author"], post["author_id"], post["article_type"]) == (
        "A long name",
        "9",
        "image",
    )
    assert post["image_urls"] == ["https://pic.example.com/a.jpg"]
    words = the_post_in(recommended(kind="word", image="//static.example.com/textDefault.png"))
    assert (words["content"], words["image_urls"]) == ("Text.", [])


@pytest.mark.parametrize(
    "user",
    [
        """<a class="side-left-userinfo" href="/users/9/"><img src="/9.jpg" alt="A long name">
        <span>A lon...</span><span class="side-fans-num userF"><i></i>22</span></a>""",
        """<div class="side-left-userinfo"><img src="/9.jpg" alt="A long name"><a href="/users/9/">
        <span>A lon...</span></a><span class="side-fans-num userF"><i></i>22</span></div>""",
    ],
    ids=["2018", "2021"],
)
def test_an_article_page_is_one_post_and_its_recommendations_are_none(user: str) -> None:
    post = the_post_in(article(user), "https://www.qiushibaike.com/article/7")
    assert (post["id"], post["article_type"], post["page"]) == ("7", "image", None)
    assert (post["author"], post["author_id"]) == ("A long name", "9")
    assert (post["author_gender"], post["author_age"]) == ("woman", 22)
    assert (post["stats_vote"], post["stats_comments"]) == (287, None)


def test_emoji_of_article_pages_are_no_pictures_of_the_post() -> None:
    content = 'Look<img src="https://static.example.com/emoji/qb_s_17.png" align="absmiddle">!'
    post = the_post_in(article("", content, '<div class="thumb"><img src="/1.jpg"></div>'))
    assert post["content"] == "Look!"
    assert post["image_urls"] == ["https://www.qiushibaike.com/1.jpg"]


@pytest.mark.parametrize(
    "body",
    [b"", b"\0", b"\xff\xfe", b"<html><h1>404 Not Found</h1>", b"{}", bytes(range(256)) * 9],
    ids=["empty", "nul", "bom", "404", "json", "garbage"],
)
def test_other_pages_have_no_posts(body: bytes) -> None:
    assert posts_in(body) == []


MARKUP = listed(rest=votes("3", "4", "-1", "2")) + touched() + recommended() + article("<img>")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, len(MARKUP)), st.integers(0, 40), st.text(max_size=9))))
def test_broken_markup_never_raises(edits: list[tuple[int, int, str]]) -> None:
    body = MARKUP
    for start, length, text in edits:
        body = body[:start] + text + body[start + length :]
    for post in posts_in(body.encode(errors="replace")):
        assert list(post) == list(FIELDS)
        json.dumps(post, ensure_ascii=False).encode()
