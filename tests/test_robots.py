"""What a robots.txt means: the rules, the outcomes of fetching it, and what is remembered."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler import robots
from crawler.result import Failure
from crawler.robots import (
    ALLOW_ALL,
    MAX_AGE,
    MAX_BYTES,
    MAX_CRAWL_DELAY,
    MAX_REFUSAL,
    MAX_RULES,
    RobotsCache,
    RobotsRules,
    judge,
    parse,
    product_token,
    robots_url,
)

AGENT = "crawl-in-order/0.1.0 (+https://project.example/)"
SITE = "https://site.example"
DENY = b"User-agent: *\nDisallow: /\n"
DENY_X = b"User-agent: *\nDisallow: /x\n"


def rules(*lines: str, agent: str = AGENT) -> RobotsRules:
    return parse("\n".join(lines).encode(), agent)


def allows(path: str, *lines: str, agent: str = AGENT) -> bool:
    return rules(*lines, agent=agent).allows(SITE + path)


def allowed(body: bytes, path: str = "/x") -> bool:
    return parse(body, AGENT).allows(SITE + path)


def cpu_seconds(body: bytes, url: str) -> tuple[float, float]:
    """To parse the file, and to judge one URL."""
    parse(DENY, AGENT)  # the import is paid
    start = time.process_time()
    rules = parse(body, AGENT)
    rules.allows(SITE)
    parsed = time.process_time()
    for _ in range(10):
        rules.allows(url)
    return parsed - start, (time.process_time() - parsed) / 10


# ---- Where the file is ----


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h:8443/x?y", "https://h:8443/robots.txt"),
        ("http://h", "http://h/robots.txt"),
        ("http://reader:secret@H.Example:80/a#b", "http://h.example/robots.txt"),
        ("https://[::1]:80/", "https://[::1]:80/robots.txt"),
    ],
)
def test_each_origin_has_its_own_file(url: str, expected: str) -> None:
    assert robots_url(url) == expected


# ---- R1 to R5: the outcome of fetching it ----


def failed(kind: str, status: int | None = None, *, retryable: bool = False) -> Failure:
    return Failure(kind, "how it went", status=status, retryable=retryable, retry_after=7.0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 451, 499])
def test_r1_a_file_that_is_refused_or_missing_allows_all(status: int) -> None:
    assert judge(failed("status", status), AGENT) is ALLOW_ALL


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 505, 599])
def test_r2_a_broken_server_is_asked_again_then_refused(status: int) -> None:
    outcome = judge(failed("status", status), AGENT)
    assert outcome == Failure(
        "robots-unreachable",
        "the site's robots.txt can't be got: how it went",
        status=status,
        retryable=True,
        retry_after=7.0,
    )


def test_r3_too_many_requests_is_no_permission() -> None:
    outcome = judge(failed("status", 429), AGENT)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.retryable) == ("robots-unreachable", True)
    assert outcome.retry_after == 7.0


@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        *("timeout", "page-timeout", "connection", "protocol", "truncated"),
        *("decode", "too-large", "worker"),
    ],
)
def test_r4_no_answer_and_a_broken_one_are_no_permission(kind: str, retryable: bool) -> None:
    outcome = judge(failed(kind, retryable=retryable), AGENT)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.retryable) == ("robots-unreachable", retryable)


@pytest.mark.parametrize("kind", ["dns", "tls", "address", "proxy"])
def test_r4_where_nothing_can_be_got_pages_fail_for_that_reason(kind: str) -> None:
    failure = failed(kind)
    assert judge(failure, AGENT) is failure


def test_r4_a_part_that_nobody_asked_for_is_no_file() -> None:
    assert isinstance(judge(failed("status", 206), AGENT), Failure)


@pytest.mark.parametrize(
    "failure",
    [failed("redirect", 302), failed("status", 300), failed("status", 304), failed("url")],
)
def test_r5_a_redirect_to_nowhere_allows_all(failure: Failure) -> None:
    assert judge(failure, AGENT) is ALLOW_ALL


def test_an_answer_is_parsed() -> None:
    outcome = judge(DENY_X, AGENT)
    assert isinstance(outcome, RobotsRules)
    assert outcome.allows(f"{SITE}/y")
    assert not outcome.allows(f"{SITE}/x")
    assert outcome != ALLOW_ALL


# ---- R6 to R9: what the bytes are ----


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + DENY,
        b"\xef\xbb" + DENY,
        b"\xef" + DENY,
        DENY.decode().encode("utf-16"),
        b"\xfe\xff" + DENY.decode().encode("utf-16-be"),
        b"\xff\xfe" + DENY.decode().encode("utf-16-le") + b"\n",
        DENY.decode().encode("utf-16-be"),
        DENY.decode().encode("utf-32"),
        b"# two files\n\xef\xbb\xbf" + DENY,
    ],
)
def test_r6_a_byte_order_mark_hides_no_rule(body: bytes) -> None:
    assert not allowed(body)


def test_r6_bytes_that_are_no_mark_are_part_of_the_line() -> None:
    assert allowed(b"\xef\x11\xbf" + DENY)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\n\r\n", b"\n\n\n"])
def test_lines_end_with_lf_cr_or_both(end: bytes) -> None:
    body = end.join([b"User-agent: *", b"Disallow: /x", b"Allow: /x/y", b"Disallow: /z"])
    assert [allowed(body, path) for path in ("/x", "/x/y", "/z")] == [False, True, False]


@pytest.mark.parametrize("char", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_nothing_else_ends_a_line(char: str) -> None:
    assert allows("/private", "User-agent: *", f"Allow: /a{char}Disallow: /private")


def test_nul_bytes_hide_no_rule() -> None:
    assert not allowed(b"\0User-agent\0: *\0\nDisal\0low: /x\0\n\0")


def test_r7_a_long_file_is_cut_at_the_end_of_a_line() -> None:
    start = b"User-agent: *\nDisallow: /x\n"
    filler = b"#" * (MAX_BYTES - len(start) - len(b"\nDisallow: /"))
    body = start + filler + b"\nDisallow: /archive/2001\n"
    assert body[:MAX_BYTES].endswith(b"\nDisallow: /")
    parsed = parse(body, AGENT)
    assert parsed.note == "cut at 512 KiB"
    assert parsed.allows(f"{SITE}/y"), "half a rule was obeyed"
    assert not parsed.allows(f"{SITE}/x")


def test_r7_a_file_of_just_that_length_is_whole() -> None:
    body = b"#" * (MAX_BYTES - len(DENY) - 1) + b"\n" + DENY
    assert len(body) == MAX_BYTES
    parsed = parse(body.rstrip(), AGENT)
    assert parsed.note is None
    assert not parsed.allows(SITE)


def test_r7_a_long_file_in_utf_16_is_cut_too() -> None:
    text = "User-agent: *\nDisallow: /x\n" + "Disallow: /yy\n" * 40_000
    parsed = parse(text.encode("utf-16"), AGENT)
    assert parsed.note == "cut at 512 KiB"
    assert [parsed.allows(SITE + path) for path in ("/", "/x", "/yy")] == [True, False, False]


def test_r8_bytes_that_are_no_utf_8_hide_no_rule() -> None:
    body = b"# caf\xe9 \xff\xfe\nUser-agent: \xff\n" + DENY_X + b"Disallow: /caf\xe9\n"
    parsed = parse(body, AGENT)
    assert not parsed.allows(f"{SITE}/x")
    assert not parsed.allows(f"{SITE}/caf%E9")
    assert not parsed.allows(f"{SITE}/caf%e9")
    assert parsed.allows(f"{SITE}/caf")
    assert parsed.allows(f"{SITE}/caf%C3%A9")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n \n\r\n",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"<!DOCTYPE html><html><body><p>Allow us to welcome you.</p>\nDisallow: /\n</body>",
        b"<a href='/'>User-agent: *</a>\nDisallow: /",
        b'{"User-agent": "*", "Disallow": "/"}',
        b"Sitemap: https://site.example/sitemap.xml\nHost: site.example\n",
        b"Disallow: /",
        b"User-agent: *\n",
        b"User-agent: *\nDisallow:\nAllow:\n",
        b"User-agent:\nDisallow: /",
    ],
)
def test_r9_what_holds_no_rule_for_us_allows_all(body: bytes) -> None:
    assert parse(body, AGENT) == ALLOW_ALL
    assert ALLOW_ALL.allows(f"{SITE}/x")


# ---- R10: whose rules they are ----


@pytest.mark.parametrize(
    ("user_agent", "token"),
    [
        ("crawl-in-order/0.1.0", "crawl-in-order"),
        (AGENT, "crawl-in-order"),
        ("My_Bot2", "my_bot2"),
        ("Mozilla/5.0 (compatible; NewsBot/1.0; +https://news.example/bot)", "newsbot"),
        ("Mozilla/5.0 (X11; Linux; compatible; other)", "mozilla"),
        ("two words", "two"),
        ("*", ""),
        ("", ""),
        ("(none)", ""),
    ],
)
def test_r10_the_product_token_is_our_name_in_a_file(user_agent: str, token: str) -> None:
    assert product_token(user_agent) == token


@pytest.mark.parametrize(
    ("named", "is_us"),
    [
        ("crawl-in-order", True),
        ("CRAWL-IN-ORDER", True),
        ("crawl-in-order/0.1.0", True),
        ("crawl-in-order/9", True),
        ("Crawl-In-Order and friends", True),
        ("crawl-in-order*", True),
        ("crawl-in-order   # that one", True),
        ("crawl", False),
        ("crawl-in", False),
        ("order", False),
        ("c", False),
        ("crawl-in-order-images", False),
        ("crawl*", False),
        ("my crawl-in-order", False),
        ("Mozilla/5.0 (compatible; crawl-in-order)", False),
        ("漢", False),
        ("", False),
    ],
)
def test_r10_a_group_is_ours_by_our_whole_name(named: str, is_us: bool) -> None:
    assert allows("/x", f"User-agent: {named}", "Disallow: /") is not is_us


@pytest.mark.parametrize(
    ("named", "is_any"),
    [("*", True), ("* # all", True), ("* and more", True), ("*bot", False), ("**", False)],
)
def test_r10_a_star_alone_is_everybody(named: str, is_any: bool) -> None:
    assert allows("/x", f"User-agent: {named}", "Disallow: /") is not is_any


def test_r10_who_has_no_name_goes_by_the_rules_for_everybody() -> None:
    lines = "User-agent: *", "Disallow: /x", "User-agent:", "Disallow: /y"
    assert not allows("/x", *lines, agent="(nameless)")
    assert allows("/y", *lines, agent="(nameless)")


GROUPS = [
    "Disallow: /nobodys/",
    "User-agent: *",
    "Disallow: /all/",
    "",
    "User-agent: tea",
    "User-agent: coffee",
    "Disallow: /hot/",
    "",
    "Disallow: /also-hot/",
    "User-agent: tea",
    "Disallow: /leaves/",
    "User-agent: water",
    "Disallow:",
]


@pytest.mark.parametrize(
    ("agent", "path", "expected"),
    [
        ("tea", "/nobodys/", True),  # before the first user agent
        ("tea", "/all/", True),  # a group of one's own replaces that for everybody
        ("tea", "/hot/", False),
        ("tea", "/also-hot/", False),  # an empty line ends nothing
        ("tea", "/leaves/", False),  # both groups count
        ("coffee", "/hot/", False),
        ("coffee", "/leaves/", True),
        ("coffee", "/all/", True),
        ("water", "/all/", True),  # a group without a rule is a group
        ("water", "/hot/", True),
        ("juice", "/all/", False),
        ("juice", "/hot/", True),
        ("juice", "/nobodys/", True),
    ],
)
def test_r10_each_crawler_has_the_groups_that_name_it(
    agent: str, path: str, expected: bool
) -> None:
    assert allows(path, *GROUPS, agent=agent) is expected


@pytest.mark.parametrize(
    "between", ["Sitemap: /s.xml", "Crawl-delay: 3", "Noindex: /", "# Disallow: /", "junk", ""]
)
def test_r10_only_rules_end_the_user_agents_of_a_group(between: str) -> None:
    lines = "User-agent: crawl-in-order", between, "User-agent: other", "Disallow: /x"
    assert not allows("/x", *lines)


@pytest.mark.parametrize("rule", ["Disallow:", "Allow: /", "Disallow: /y"])
def test_r10_rules_do_end_them(rule: str) -> None:
    assert allows("/x", "User-agent: crawl-in-order", rule, "User-agent: other", "Disallow: /x")


@pytest.mark.parametrize(
    "lines",
    [
        ("USER-AGENT: *", "DISALLOW: /"),
        ("uSeR-aGeNt:*", "dIsAlLoW:/"),
        ("  User-agent  :  *  ", "\tDisallow\t:\t/\t"),
        ("User-agent *", "Disallow /"),
        ("Useragent: *", "Dissallow: /"),
        ("User agent: *", "Disalow: /"),
        ("User-agent: *", "Disallow:\N{NO-BREAK SPACE}/"),
        ("User-agent: *#", "Disallow: /#x"),
    ],
)
def test_r10_a_record_is_known_however_it_is_typed(lines: tuple[str, ...]) -> None:
    assert not allows("/x", *lines)


@pytest.mark.parametrize("line", ["Disallow me not", "Disallow", "Disallows: /", "Dis allow: /"])
def test_r10_what_is_not_a_record_is_none(line: str) -> None:
    assert allows("/me", "User-agent: *", line)


# ---- R10: what the rules fit ----


@pytest.mark.parametrize(
    ("rule", "fitting", "others"),
    [
        (
            "/tea",
            "/tea /tea.html /tea/green /teapots /tea?cup=2 /tea/?cup=2",
            "/ /Tea /iced-tea /?q=/tea /te",
        ),
        ("/tea*", "/tea /tea.html /tea/green /teapots", "/Tea /iced-tea /?q=tea"),
        ("/tea/", "/tea/ /tea/green /tea/?cup=2", "/tea /tea.html /Tea/"),
        (
            "/*.php",
            "/index.php /a/b.php /a.php?x=1 /a.php/b /a.php5 //a//b.php.html /a?f=b.php",
            "/ /php /a?php /a.PHP",
        ),
        (
            "/*.php$",
            "/index.php /a/b.php /.php",
            "/a.php?x=1 /a.php/ /a.php5 /php /a?php /A.PHP",
        ),
        ("/tea*.php", "/tea.php /teapots/green.php?x", "/Tea.php /a/tea.php /tea.PHP"),
        ("/$", "/", "/a /?a"),
        ("/a$", "/a", "/a/ /ab /a?"),
        ("/a$b", "/a$b /a$bc /a%24b", "/a /ab"),
        ("/a*b*c", "/abc /axbxc /abbbc/d", "/acb /ab /a"),
        ("/a*$", "/a /ab", "/b"),
        ("/**", "/ /a", ""),
        ("*", "/ /a", ""),
        ("*/b", "/b /a/b", "/a"),
        ("/*?", "/? /?a /a?b", "/ /a"),
        ("/a?b=c&d", "/a?b=c&d /a?b=c&de", "/a /a?d&b=c"),
        ("tea", "", "/tea /"),
        ("/a b", "/a%20b", "/a /ab"),
        ("/a;b", "/a;b", "/a"),
        ("/a#b", "/a /ac", "/"),
        ("/a%23b", "/a%23b", "/a /a#b"),
        ("/a%2Fb", "/a%2fb /a%2Fb", "/a/b"),
        ("/a%2ab", "/a%2Ab", "/axb"),
        ("/%62%61r", "/bar /%62ar", "/foo"),
        ("/bar", "/%62%61%72", "/%42ar"),
        ("/~joe", "/~joe /%7Ejoe /%7ejoe", "/joe"),
        ("/%7ejoe", "/~joe", "/joe"),
        ("/漢", "/%E6%BC%A2 /%e6%bc%a2 /漢字", "/%E6%BC%A3 /%E6%BC"),
        ("/%e6%bc%a2", "/漢 /%E6%BC%A2", "/汉"),
        ("/a%zz", "/a%zz", "/a"),
        ("/a?u=http://b.example/", "/a?u=http://b.example/c", "/a?u=c"),
    ],
)
def test_r10_which_paths_a_rule_fits(rule: str, fitting: str, others: str) -> None:
    denied = rules("User-agent: *", f"Disallow: {rule}")
    # The same turned round; the stars make it the longest rule and change nothing else.
    turned = rules("User-agent: *", "Disallow: /", "Disallow: *", f"Allow: {rule}****")
    for path in fitting.split():
        assert not denied.allows(SITE + path), path
        if not rule.endswith("$"):
            assert turned.allows(SITE + path), path
    for path in others.split():
        assert denied.allows(SITE + path), path
        assert not turned.allows(SITE + path), path


@pytest.mark.parametrize(
    ("allow", "disallow", "path", "expected"),
    [
        ("/a", "/", "/a", True),
        ("/a/", "/a", "/a", False),
        ("/a/", "/a", "/a/", True),
        ("/a", "/a/b.html", "/a/b.html", False),
        ("/a/b.html", "/a/", "/a/b.html", True),
        ("/a/b.html", "/a/", "/a/", False),
        ("/", "/", "/a", True),  # as long: Allow
        ("/same", "/same", "/same/a", True),
        ("/same*", "/*same", "/same", True),
        ("/page", "/*.html", "/page.html", False),
        ("/page", "/*.html", "/page", True),
        ("/a/page.", "/*.html", "/a/page.html", True),
        ("/p", "/", "/page", True),
        ("/page", "/*.htm", "/page.htm", False),
        ("/$", "/", "/", True),
        ("/$", "/", "/page.html", False),
        ("", "/", "/a", False),
        ("/", "", "/a", True),
    ],
)
@pytest.mark.parametrize("is_allow_first", [True, False])
def test_r10_the_longest_rule_decides(
    allow: str, disallow: str, path: str, expected: bool, is_allow_first: bool
) -> None:
    lines = [f"Allow: {allow}", f"Disallow: {disallow}"]
    ordered = lines if is_allow_first else lines[::-1]
    assert allows(path, "User-agent: *", *ordered) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a/", True), ("/a/index.html", True), ("/a/index.htm", False), ("/b", False)],
)
def test_r10_an_allowed_index_is_its_directory(path: str, expected: bool) -> None:
    assert allows(path, "User-agent: *", "Allow: /a/index.html", "Disallow: /") is expected


def test_r10_the_file_itself_is_always_allowed() -> None:
    assert not allows("/robots.txt.html", "User-agent: *", "Disallow: /")
    assert not allows("/a/robots.txt", "User-agent: *", "Disallow: /")
    assert allows("/robots.txt", "User-agent: *", "Disallow: /")
    assert allows("/robots.txt#a", "User-agent: *", "Disallow: /robots.txt")


@pytest.mark.parametrize("url", ["http://h", "http://h?q", "http://h#f", "http://h//", ""])
def test_r10_every_url_has_a_path(url: str) -> None:
    assert not parse(DENY, AGENT).allows(url)
    assert parse(DENY_X, AGENT).allows(url)


@pytest.mark.parametrize("url", ["HTTP://u:p@H:80/x", "//h/x", "/x", "http://[bad/x", "http:/x"])
def test_r10_the_path_is_found_however_a_url_begins(url: str) -> None:
    assert not parse(DENY_X, AGENT).allows(url)


@pytest.mark.xfail(strict=True, reason="protego 0.7; see docs/decisions.md")
@pytest.mark.parametrize(
    ("lines", "path"),
    [
        (("Allow: /blog", "Disallow: /*?*"), "/blog?a"),  # ? counts as %3F
        (("Disallow: /a?b",), "/a%3Fb"),
        (("Disallow: /%C4%E3",), "/%BA%C3"),  # two words in GBK
    ],
)
def test_r10_what_protego_does_not_know(lines: tuple[str, ...], path: str) -> None:
    assert allows(path, "User-agent: *", *lines)


# ---- R11: Crawl-delay and what is remembered ----


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0.5", 0.5), ("0", 0.0), ("10", 10.0), ("60", 60.0), ("1e1", 10.0), ("3 # s", 3.0)],
)
def test_r11_a_crawl_delay_is_a_number_of_seconds(value: str, expected: float) -> None:
    parsed = rules("User-agent: *", f"Crawl-delay: {value}")
    assert (parsed.crawl_delay, parsed.note) == (expected, None)


@pytest.mark.parametrize("value", ["", "-1", "nan", "inf", "1e999", "ten", "5s", "1,5", "1 2"])
def test_r11_any_other_crawl_delay_is_none(value: str) -> None:
    assert rules("User-agent: *", f"Crawl-delay: {value}").crawl_delay is None


def test_r11_a_crawl_delay_is_capped_and_that_is_said() -> None:
    parsed = rules("User-agent: *", "Crawl-delay: 86400", "Disallow: /x")
    assert parsed.crawl_delay == MAX_CRAWL_DELAY
    assert parsed.note == "Crawl-delay 86400 capped to 60"
    assert not parsed.allows(f"{SITE}/x")
    assert parsed.allows(f"{SITE}/y")


def test_r11_a_crawl_delay_is_that_of_our_group() -> None:
    lines = ["User-agent: *", "Crawl-delay: 9", "Disallow: /x", "User-agent: tea", "Disallow: /y"]
    assert rules(*lines).crawl_delay == 9
    assert rules(*lines, agent="tea").crawl_delay is None


def test_r11_rules_count_for_a_day() -> None:
    cache, known = RobotsCache(), parse(DENY, AGENT)
    assert cache.get(f"{SITE}/x", 5.0) is None
    assert cache.put(f"{SITE}/x", known, 5.0) is known
    assert cache.get(f"{SITE}/y", 5.0) is known
    assert cache.get(f"{SITE}:443/y", 4.0 + MAX_AGE) is known
    assert cache.get(f"{SITE}/y", 5.0 + MAX_AGE) is None
    cache.put(SITE, ALLOW_ALL, 6.0 + MAX_AGE)
    assert cache.get(SITE, 7.0 + MAX_AGE) is ALLOW_ALL


def test_r11_rules_are_those_of_one_origin() -> None:
    cache = RobotsCache()
    cache.put("https://h/", ALLOW_ALL, 0.0)
    assert cache.get("https://u:p@H:443/a", 0.0) is ALLOW_ALL
    for other in ("http://h/", "https://h:8443/", "https://www.h/", "https://h.example/"):
        assert cache.get(other, 0.0) is None


def test_a_refusal_counts_for_an_hour() -> None:
    cache, refusal = RobotsCache(), failed("robots-unreachable")
    assert cache.put(SITE, refusal, 0.0) is refusal
    assert cache.get(SITE, MAX_REFUSAL - 1) is refusal
    assert cache.get(SITE, MAX_REFUSAL) is None
    cache.put(SITE, ALLOW_ALL, MAX_REFUSAL)
    assert cache.get(SITE, MAX_REFUSAL + 1) is ALLOW_ALL


def test_old_rules_count_while_no_newer_ones_can_be_got() -> None:
    cache, known = RobotsCache(), parse(DENY_X, AGENT)
    cache.put(SITE, known, 0.0)
    assert cache.get(SITE, MAX_AGE) is None
    assert cache.put(SITE, failed("robots-unreachable"), MAX_AGE) is known
    assert cache.get(SITE, MAX_AGE + 1) is known
    assert cache.get(SITE, MAX_AGE + MAX_REFUSAL) is None


def test_r11_the_origins_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots, "MAX_ORIGINS", 3)
    cache = RobotsCache()
    for name in "abc":
        cache.put(f"http://{name}/", ALLOW_ALL, 0.0)
    cache.get("http://a/", 1.0)
    cache.put("http://d/", ALLOW_ALL, 2.0)
    cache.put("http://d/", ALLOW_ALL, 3.0)
    assert [cache.get(f"http://{n}/", 4.0) is not None for n in "abcd"] == [1, 0, 1, 1]


def test_r11_the_rules_held_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots, "MAX_RULES_HELD", 5)
    cache = RobotsCache()
    three = rules("User-agent: *", "Disallow: /a", "Disallow: /b", "Allow: /c", "Allow: /c")
    assert three.size == 3
    for name in "aab":
        cache.put(f"http://{name}/", three, 0.0)
    assert cache.get("http://a/", 0.0) is None
    assert cache.get("http://b/", 0.0) is three
    six = rules("User-agent: *", *[f"Disallow: /{n}" for n in range(6)])
    cache.put("http://c/", six, 0.0)
    assert cache.get("http://c/", 0.0) is six, "the newest is held, whatever its size"
    assert cache.get("http://b/", 0.0) is None


@pytest.mark.parametrize("url", ["", "http://", "http://[bad", "mailto:a@b", "http://h/ "])
def test_what_cannot_be_fetched_needs_no_rules(url: str) -> None:
    assert RobotsCache().get(url, 0.0) is ALLOW_ALL


# ---- L17: what it costs ----


def test_l17_stars_cost_nothing() -> None:
    body = b"User-agent: *\nDisallow: /" + b"*1" * 12 + b"*Z\n"
    parsing, judging = cpu_seconds(body, SITE + "/" + "1" * 60)
    assert parse(body, AGENT).allows(SITE + "/" + "1" * 60)
    assert parsing < 0.010
    assert judging < 0.010


def test_l17_a_hundred_thousand_rules_are_cut_and_that_is_said() -> None:
    body = b"User-agent: *\n" + b"".join(b"Allow:/*%d\n" % n for n in range(100_000))
    parsing, judging = cpu_seconds(body, SITE + "/some/path")
    parsed = parse(body, AGENT)
    assert parsed.size == MAX_RULES
    assert parsed.note == "cut at 512 KiB; cut at 10,000 rules"
    assert parsing < 2.0
    assert judging < 0.1


@pytest.mark.parametrize(
    "body",
    [
        b"User-agent: *\nDisallow: /" + b"a" * 2**20,
        b"User-agent: *\nDisallow: /" + b"*1" * 2**18 + b"\n",
        b"User-agent: *\nDisallow" + b" " * 2**18 + b"a b\n",
        b"User-agent: " * 2**15,
        b"\n" * 2**20,
        b"\0" * 2**20,
        b"".join(b"User-agent: a%d\n" % n for n in range(15_000)) + b"Allow: /x\n" * 15_000,
        b"User-agent: *\n" * 15_000 + b"".join(b"Allow: /%d\n" % n for n in range(15_000)),
    ],
    ids=["a line", "stars", "blanks", "no end", "ends", "nul", "agents", "one agent"],
)
def test_l17_no_file_blows_up(body: bytes) -> None:
    parsing, judging = cpu_seconds(body, SITE + "/" + "1" * 60)
    assert parsing < 2.0
    assert judging < 0.1


def test_l17_a_line_is_cut() -> None:
    # At 16,663 characters, which is longer than any URL that is fetched.
    rule = "/" + "a" * 16_662
    assert allows("/a", "User-agent: *", f"Disallow: {rule}")
    assert not allows(rule[: 16_663 - len("Disallow: ")], "User-agent: *", f"Disallow: {rule}")
    assert allows(rule[: 16_662 - len("Disallow: ")], "User-agent: *", f"Disallow: {rule}")


# ---- Anything at all ----

LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.tuples(
            st.sampled_from([b"User-agent", b"Allow", b"disallow", b"Crawl-delay", b"Sitemap"]),
            st.sampled_from([b":", b" ", b": "]),
            st.one_of(
                st.binary(max_size=12),
                st.text(alphabet="/a*$%?#2F.é漢\n\r\x85", max_size=12).map(str.encode),
                st.sampled_from([b"*", b"crawl-in-order", b"/", b"1e9", b"https://[", b"/%"]),
            ),
        ).map(b"".join),
    ),
    max_size=8,
)
BODIES = st.one_of(
    st.binary(),
    st.tuples(st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef"]), LINES.map(b"\n".join)).map(
        b"".join
    ),
    st.text().map(lambda text: text.encode("utf-16", "replace")),
)
URLS = st.one_of(
    st.text(st.characters(), max_size=60),
    st.text(alphabet="/a*$%?#2F.:[]@漢\ud800\n", max_size=20).map(SITE.__add__),
)


@given(BODIES, st.text(max_size=40), st.sampled_from([AGENT, "", "*", "漢"]))
@example(DENY, "http://[", AGENT)
@example(DENY, "http://h/\ud800%\udcff", AGENT)
@example(DENY, "//\u2100/robots.txt", AGENT)
@example(b"User-agent: *\nDisallow: https://[", "http://h/https://[", AGENT)
def test_any_bytes_can_be_parsed(body: bytes, url: str, user_agent: str) -> None:
    parsed = parse(body, user_agent)
    assert parsed.allows(url) in (True, False)
    assert parsed.crawl_delay is None or 0 <= parsed.crawl_delay <= MAX_CRAWL_DELAY


@given(URLS)
@example("http://[")
@example("\ud800")
@example("http://h/robots.txt/../\ud800")
def test_any_url_can_be_judged(url: str) -> None:
    parsed = rules("User-agent: *", "Disallow: /a*b$", "Allow: /%E6", "Disallow: /a?", "Allow: *%")
    assert parsed.allows(url) in (True, False)
    assert ALLOW_ALL.allows(url)
    RobotsCache().get(url, 0.0)


@given(st.text(alphabet="/ab~%2-", max_size=20))
def test_a_rule_fits_the_path_that_it_is(path: str) -> None:
    assert not allows(f"/{path}", "User-agent: *", f"Disallow: /{path}")


def test_importing_the_module_does_not_import_protego() -> None:
    program = "import sys, crawler.robots; sys.exit('protego' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
