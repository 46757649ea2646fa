"""A replica of qiushibaike.com's /text/ pages as they were from 2020 to 2022.

The site closed in December 2022. The markup is that of the original, with all that made it hard for
spiders: two spans in one content, a gender inside a comment, links inside comments, `javascript:`
links, numbers in hidden spans. The posts are made up. Links that left the site go to a domain that
can't exist (RFC 2606); the pictures are our own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache
from html import escape

from crawler.demo.exchange import Answer, Document, Request, json_answer, page
from crawler.demo.posts import (
    PAGES,
    POSTS,
    POSTS_PER_PAGE,
    Comment,
    Post,
    User,
    find_post,
    find_user,
    post,
)

SHOWN_CHARACTERS = 190
"""The list shows this much of a post; a longer one is cut, and marked 查看全文."""

_ELSEWHERE = "www.qiushibaike.example"


def text_page(request: Request) -> Answer:
    """25 of the replica's 325 posts; /text/ is page 1, page 13 is the last."""
    number = request.count("number", 1)
    if not 1 <= number <= PAGES:
        return _sent(request, None)
    return _sent(request, _list_document(request.site.seed, request.site.authority, number))


def article(request: Request) -> Answer:
    """One post of the replica in full."""
    number = find_post(request.site.seed, request.count("id"))
    if number is None:
        return _sent(request, None)
    return _sent(request, _article_document(request.site.seed, request.site.authority, number))


def comments(request: Request) -> Answer:
    """The comments of a post as JSON, as the original's pages loaded them."""
    number = find_post(request.site.seed, request.count("id"))
    if number is None:
        return _sent(request, None)
    best = post(request.site.seed, number).god_comment
    found = [] if best is None else [_comment_fields(best)]
    return json_answer({"err": 0, "count": len(found), "comments": found})


def profile(request: Request) -> Answer:
    """A user of the replica, with all that this user wrote."""
    seed = request.site.seed
    found = find_user(seed, request.count("id"))
    if found is None:
        return _sent(request, None)
    return _sent(request, _profile_document(seed, request.site.authority, found))


def stylesheet(request: Request) -> Answer:
    """The replica's style sheet."""
    return Document(_CSS.encode(), "text/css; charset=utf-8").answer(request)


def _sent(request: Request, document: Document | None) -> Answer:
    """The document as the original's server sent things; None is its 404 page."""
    if not request.header("user-agent"):
        return page("503", "<h1>503: who are you? Send a User-Agent.</h1>", status=503)
    if document is None:
        body = _whole("找不到这一页", request.site.authority, _NOT_FOUND)
        return Answer(body.encode(), status=404)
    if "_xsrf" in request.cookies():
        return document.answer(request)
    token = f"2|{zlib.crc32(request.site.authority.encode()):08x}"
    return document.answer(request, ("Set-Cookie", f"_xsrf={token}; Path=/"))


@lru_cache(maxsize=PAGES)
def _list_document(seed: int, authority: str, number: int) -> Document:
    first = (number - 1) * POSTS_PER_PAGE
    linked = seed % 2 == 0
    posts = [
        _listed_post(post(seed, first + place), authority, long=place == 0, linked=linked)
        for place in range(POSTS_PER_PAGE)
    ]
    column = f"""\
<div class="col1 old-style-col1">


<!-- 相关推荐 -->


{"".join(posts)}

{_pagination(number)}

<!-- 底部banner图 -->
<a target="_blank" href="https://{_ELSEWHERE}/download">
<img style="width: 608px;" src="//{authority}/images/608.png" />
</a>
</div>
"""
    return Document(_whole("每天一笑，生活不老", authority, column).encode())


def _listed_post(shown: Post, authority: str, *, long: bool, linked: bool) -> str:
    number = shown.id
    text, rest = shown.text[:SHOWN_CHARACTERS], shown.text[SHOWN_CHARACTERS:]
    text = _lines(text) + ("\n…" if rest else "\n")
    whole = '<span class="contentForAll">查看全文</span>\n' if rest else ""
    return f"""
<div class="article block untagged mb15 typs_{"long" if long else "hot"}" id='qiushi_tag_{number}'>


{_author(shown.author, authority, linked=linked)}

<a href="/article/{number}" target="_blank" class="contentHerf" {_click("web-list-content")}>
<div class="content">
<span>


{text}
</span>

{whole}
</div>
</a>
<!-- 图片或gif -->


<div class="stats">
<!-- 笑脸、评论数等 -->


<span class="stats-vote"><i class="number">{shown.up + shown.down}</i> 好笑</span>
<span class="stats-comments">
<span class="dash"> · </span>
<a href="/article/{number}" data-share="/article/{number}" id="c-{number}" \
class="qiushi_comments" target="_blank" {_click("web-list-comment")}>
<i class="number">{shown.comments}</i> 评论
</a>
</span>
</div>
<div id="qiushi_counts_{number}" class="stats-buttons bar clearfix">
<ul class="clearfix">
<li id="vote-up-{number}" class="up">
<a href="javascript:voting({number},1)" class="voting" data-article="{number}" \
id="up-{number}" rel="nofollow" {_click("web-list-funny")}>
<i></i>
<span class="number hidden">{shown.up}</span>
</a>
</li>
<li id="vote-dn-{number}" class="down">
<a href="javascript:voting({number},-1)" class="voting" data-article="{number}" \
id="dn-{number}" rel="nofollow" {_click("web-list-cry")}>
<i></i>
<span class="number hidden">{shown.down}</span>
</a>
</li>
<li class="comments">
<a href="/article/{number}" id="c-{number}" class="qiushi_comments" target="_blank" \
{_click("web-list-comment01")}>
<i></i>
</a>
</li>
</ul>
</div>
<div class="single-share">
<a class="share-wechat" data-type="wechat" title="分享到微信" rel="nofollow">微信</a>
<a class="share-qq" data-type="qq" title="分享到QQ" rel="nofollow">QQ</a>
<a class="share-qzone" data-type="qzone" title="分享到QQ空间" rel="nofollow">QQ空间</a>
<a class="share-weibo" data-type="weibo" title="分享到微博" rel="nofollow">微博</a>
</div>
<div class="single-clear"></div>

{_god_comment(number, shown.god_comment, authority)}
</div>


"""


def _author(author: User | None, authority: str, *, linked: bool) -> str:
    if author is None:
        return f"""\
<div class="author clearfix">
<span style="height: 35px">
<img src="//{authority}/static/images/thumb/anony.png?v=1" alt="匿名用户">
</span>
<span>
<h2>匿名用户</h2>
</span>
<!-- <div class="articleGender manIcon">32</div> -->
</div>"""
    link = f' href="/users/{author.id}/"' if linked else ""
    return f"""\
<div class="author clearfix">
<a rel="nofollow" style="height: 35px" {_click("web-list-author-img")}>

<img src="//{authority}{author.avatar}?imageView2/1/w/90/h/90" alt="{author.name}">
</a>
<a {_click("web-list-author-text")}{link}>
<h2>
{author.name}
</h2>
</a>
<div class="articleGender {author.gender}Icon">{author.age}</div>
</div>"""


def _god_comment(number: int, comment: Comment | None, authority: str) -> str:
    if comment is None:
        return ""
    return f"""
<a href="/article/{number}" class="indexGodCmt" {_click("web_list_comment-popular")} \
rel="nofollow" target="_blank">
<div class="cmtMain">
<span class="cmt-god"></span>






<span class="cmt-name">{comment.author}：</span>
<div class="main-text">
{escape(comment.text)}
<div class="likenum">
<img src="//{authority}/static/images/like.png?v=1">


{comment.likes}

</div>
</div>
</div>
</a>
"""


def _pagination(current: int) -> str:
    first = min(max(1, current - 2), PAGES - 4) if current > 4 else 1
    numbers = range(first, first + 5)
    entries = []
    if current > 1:
        entries.append(_page_entry(current - 1, "prev", "&lt;"))
    if first > 1:
        entries += [_page_entry(1, "page-numbers", "1"), _DOTS]
    entries += [
        _CURRENT.format(number)
        if number == current
        else _page_entry(number, "page-numbers", str(number))
        for number in numbers
    ]
    if numbers[-1] < PAGES:
        entries += [_DOTS, _page_entry(PAGES, "page-numbers", str(PAGES))]
    if current < PAGES:
        entries.append(_page_entry(current + 1, "next", "下一页"))
    listed = "\n\n".join(entries)
    return f'<!-- 全局翻页组件 -->\n\n<ul class="pagination">\n\n{listed}\n\n</ul>\n'


_DOTS = '<li>\n<span class="dots">\n…\n</span>\n</li>\n'
_CURRENT = '<li>\n<span class="current" >\n{}\n</span>\n</li>\n'


def _page_entry(number: int, kind: str, label: str) -> str:
    path = f"/text/page/{number}/" if number > 1 else "/text/"
    link = f'<a href="{path}" rel="nofollow">'
    # The original repeats most links inside a comment, for spiders that read it by regex.
    twin = "" if kind == "prev" or number == 1 else f"<!--{link}-->\n"
    return f'<li>\n{link}\n{twin}<span class="{kind}">\n{label}\n</span>\n</a>\n</li>\n'


@lru_cache(maxsize=POSTS)
def _article_document(seed: int, authority: str, number: int) -> Document:
    shown = post(seed, number)
    name = shown.author.name if shown.author else "匿名用户"
    before, after = (post(seed, (number + step) % POSTS).id for step in (-1, 1))
    content = f"""\
{_user_box(shown.author, authority)}
<div class="col1 new-style-col1" data-bj="False">

<h1 class="article-title">

{name}的糗事：{escape(shown.text[:20])}
</h1>
<div class="stats">
<span class="stats-time">
{shown.written}
</span>

<span class="stats-vote">好笑数：<i class="number">{shown.up + shown.down}</i></span>
<span class="stats-comments">评论：<i class="number">{shown.comments}</i></span>
</div>

<!-- 文章详情页 -->

<div class="article block untagged noline" id='qiushi_tag_{shown.id}'>
<input type="hidden" id="hid">
<div class="image" id="single-next-link" title="下一条">


<div class="content">{_lines(shown.text)}</div>

</div>

<div class='page-nav-list hidden'>
<div id='single-pre-link' class='page-nav-list-bian page-nav-list-pre'>上一条</div>
<div id='single-next-link-button' class='page-nav-list-next'>下一条</div>
</div>
</div>
{_god_comment(shown.id, shown.god_comment, authority)}
<input type="hidden" value = "{shown.id}" id='articleCurrentLink' />
<input type="hidden" value = "/article/{after}" id='articleNextLink' />
<input type="hidden" value = "/article/{before}" id='articlePreLink' />
<input type="hidden" value =1 id='isArticle' />
</div>
"""
    return Document(_whole(escape(shown.text[:20]), authority, content).encode())


def _user_box(author: User | None, authority: str) -> str:
    if author is None:
        return '<!-- userinfo -->\n<div class="side-left-userinfo">匿名用户</div>\n'
    shortened = author.name if len(author.name) < 6 else author.name[:5] + "..."
    return f"""\
<!-- userinfo -->
<div class="side-left-userinfo">

<img src="//{authority}{author.avatar}" alt="{author.name}" />

<div class="side-user-top">
<a target="_blank" href="/users/{author.id}/" title="{author.name}">\
<span class="side-user-name">{shortened}</span></a>

</div>
</div>
"""


@lru_cache(maxsize=256)
def _profile_document(seed: int, authority: str, shown: User) -> Document:
    everything = (post(seed, number) for number in range(POSTS))
    posts = "".join(
        f'<li><a href="/article/{one.id}">{escape(one.text[:30])}</a></li>\n'
        for one in everything
        if one.author == shown
    )
    content = f"""\
{_user_box(shown, authority)}
<div class="user-main">
<ul class="user-article-list">
{posts}</ul>
</div>
"""
    return Document(_whole(f"{shown.name}的糗事", authority, content).encode())


def _comment_fields(comment: Comment) -> dict[str, str | int]:
    return {"login": comment.author, "content": comment.text, "likeCount": comment.likes}


def _lines(text: str) -> str:
    return escape(text, quote=False).replace("\n", "<br/>")


def _click(event: str) -> str:
    return f"""onclick="_hmt.push(['_trackEvent','{event}','chick'])\""""


def _whole(title: str, authority: str, content: str) -> str:
    return f"""\
<!DOCTYPE html
PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" \
"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<meta http-equiv="X-UA-Compatible" content="chrome=1,IE=edge">
<meta name="renderer" content="webkit" />
<meta name="applicable-device" content="pc">



<title>{title} - 糗事百科（练习站）</title>



<meta name="keywords" content="练习,爬虫,笑话" />
<meta name="description" content="练习用的复刻页面，故事都是随机编出来的。"/>
<meta http-equiv="mobile-agent" content="format=html5;url=//{authority}/text/">
<link href="//{authority}/static/replica.css?v=1" media="screen, projection" rel="stylesheet"
type="text/css" />
<script type='text/javascript'>
var _hmt = _hmt || [];
window.config = {{
'version': '2017-09-04 14:36'
}}
</script>
</head>
<body>


<div id="content" class="main">
<div class="content-block clearfix">

<!-- 左边sidebar -->

<!-- 头部 -->
<div class="col0">
<div class="index-col0" id="sidebarLeft">
<div id="index_header" class="index-head">
<ul>
<li>
<a href="/" class="logo-area">
<div class="index-logo"></div>
<h1 class="hidden">糗事百科</h1>
</a>
</li>
<li><a  href="/" target="_blank" rel="nofollow">推荐</a></li>
<!-- <li> <a  href="/hot/" target="_blank">24小时</a></li> -->
<li> <a  href="/gallery/" target="_blank">热图</a></li>
<li> <a  id="menu-hover"  href="/text/" target="_blank">段子</a></li>
<!-- <li> <a  href="/history/" target="_blank">穿越</a></li> -->
<!-- <li> <a  href="/pic/" target="_blank">糗图</a></li> -->
<!-- <li> <a  href="/textnew/" target="_blank">新鲜</a></li> -->
</ul>
</div>
<!-- 左边栏广告1 -->

<div class="index-side-left-AD1">
<img src="//{authority}/images/120.png" alt="二维码">
</div>

</div>
</div>



{content}


<div class="col2">
<div id="sidebar" class="sidebar">

<!-- APP下载引导二维码 -->
<div class="qrcode-wrap">
<img class="qrcode-wrap-img" src="//{authority}/images/240.png"
alt="这里原来是下载二维码">
</div>
</div>
</div>


</div>
</div>


<div class="foot">
<div class="foot-nav clearfix">
{"".join(_foot_column(*column) for column in _FOOT)}\
</div>
<div class="foot-copyrights">
<p>
<span>这是练习用的网站，文字都是程序编的，和原网站无关。</span>
</p>
<!-- <p style="margin-top: 8px"><span>这里原来是备案号</span></p> -->
</div>
</div>


<div class="float-nav">
<a class="float-nav-backtop" href="#" rel="nofollow">
<span class="float-nav-backtop-icon"></span>
</a>
</div>

<!--[if gte IE 6]>
<script type="text/javascript" src="//{authority}/static/json3.js?v=1"></script>
<![endif]-->
<script type="text/javascript">
function voting(article, step) {{ return false; }}


window.broadJson = '[]'
</script>
<!-- <script type="text/javascript" src="//{authority}/static/adsAdmin.min.js?v=1"></script> -->
</body>
</html>
"""


_FOOT: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("关于", ((f"https://hr.{_ELSEWHERE}/about.html", "关于我们"),)),
    (
        "帮助",
        (
            (f"//about.{_ELSEWHERE}/feedback.html", "意见反馈"),
            (f"//about.{_ELSEWHERE}/privacy.html", "隐私说明"),
        ),
    ),
    ("关注", (("#", "微信"), ("http://weibo.example/qiushibaike", "微博"))),
)


def _foot_column(title: str, links: Iterable[tuple[str, str]]) -> str:
    entries = "".join(
        f'<li>\n<a href="{link}" target="_blank" rel="nofollow">\n{label}\n</a>\n</li>\n'
        for link, label in links
    )
    return f'<div class="foot-nav-col">\n<h3>\n{title}\n</h3>\n<ul>\n{entries}</ul>\n</div>\n'


_NOT_FOUND = """\
<div class="col1 old-style-col1">
<div class="error-page"><h2>404</h2><p>这一页走丢了，去<a href="/text/">段子</a>里找找。</p></div>
</div>
"""

_CSS = """\
body { margin: 0; background: #f6f4ef; color: #333; font: 16px/1.7 sans-serif; }
a { color: inherit; text-decoration: none; }
ul { list-style: none; margin: 0; padding: 0; }
.hidden, .single-share, .stats-buttons { display: none; }
.main { max-width: 960px; margin: 0 auto; }
.index-head li { display: inline-block; margin: 12px 20px 12px 0; font-weight: bold; }
.index-side-left-AD1, .col2, .float-nav { display: none; }
.article, .user-main { background: #fff; border-radius: 6px; padding: 20px; margin: 0 0 15px; }
.author img { width: 35px; height: 35px; border-radius: 50%; vertical-align: middle; }
.author h2 { display: inline; font-size: 15px; margin-left: 8px; }
.articleGender { display: inline; color: #999; font-size: 12px; margin-left: 8px; }
.contentForAll { color: #e66; }
.stats, .stats i { color: #999; font-size: 13px; font-style: normal; }
.cmtMain { background: #faf8f3; padding: 8px 12px; margin-top: 10px; font-size: 14px; }
.likenum { color: #999; } .likenum img { width: 14px; }
.pagination li { display: inline-block; margin: 0 8px; }
.current { font-weight: bold; color: #e66; }
.foot { text-align: center; color: #999; font-size: 13px; padding: 20px; }
.foot-nav-col { display: inline-block; vertical-align: top; margin: 0 30px; }
"""
