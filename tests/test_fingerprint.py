"""Which requests are the same."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.fingerprint import SIZE, fingerprint
from crawler.request import Request

PAGE = Request("https://x.example/list?page=1&sort=new")


@pytest.mark.parametrize(
    "same",
    [
        Request("HTTPS://X.example:443/list?sort=new&page=1#top"),
        Request(PAGE.url, "get"),
        Request(PAGE.url, body=b""),
        Request(PAGE.url, headers={"Accept-Language": "de"}),
        Request(PAGE.url, meta={"page": 2}),
        Request(PAGE.url, history=("https://x.example/",)),
    ],
    ids=["spelling", "method in small letters", "empty body", "headers", "meta", "history"],
)
def test_it_is_the_same_request_whatever_its(same: Request) -> None:
    assert fingerprint(same) == fingerprint(PAGE)


@pytest.mark.parametrize(
    "other",
    [
        Request("https://x.example/list?page=2&sort=new"),
        Request("http://x.example/list?page=1&sort=new"),
        Request(PAGE.url, "HEAD"),
        Request(PAGE.url, "POST"),
        Request(PAGE.url, "POST", body=b"a=1"),
        Request(PAGE.url, body=b"a=1"),
    ],
    ids=["URL", "scheme", "HEAD", "POST", "POST with a body", "GET with a body"],
)
def test_it_is_another_request_with_another(other: Request) -> None:
    assert fingerprint(other) != fingerprint(PAGE)


def test_the_options_are_those_of_the_canonical_url() -> None:
    mine = Request(f"{PAGE.url}&utm_source=mail#top")
    assert fingerprint(mine) != fingerprint(PAGE)
    assert fingerprint(mine, drop_parameters=["utm_*"]) == fingerprint(PAGE)
    assert fingerprint(mine, drop_parameters=["utm_*"], keep_fragment=True) != fingerprint(PAGE)


def test_what_is_no_url_has_no_fingerprint() -> None:
    with pytest.raises(ValueError, match="a relative URL needs a base"):
        fingerprint(Request("list?page=1"))


def test_it_may_be_stored_for_the_next_version_must_know_it() -> None:
    assert fingerprint(Request("https://x.example/")).hex() == "151405f6c4353c9c8bb1c6895a40f957"
    stored = fingerprint(Request("https://x.example/?b&a", "POST", body=b"a=1")).hex()
    assert stored == "46f6bc811caa970cc17ef18413e98e89"


def test_it_is_the_same_in_another_process() -> None:
    program = (
        "from crawler.fingerprint import fingerprint; from crawler.request import Request;"
        f"print(fingerprint(Request({PAGE.url!r})).hex())"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert there.stdout.strip() == fingerprint(PAGE).hex(), there.stderr


METHODS = st.sampled_from(["GET", "POST", "GET http://h/", "POST 3\n", ""]) | st.text(max_size=4)
BODIES = st.sampled_from([b"", b"a", b" 0\n", b"\n"]) | st.binary(max_size=4)
PATHS = st.text("ab/", max_size=3)


@given(METHODS, PATHS, BODIES, METHODS, PATHS, BODIES)
@example("GET", "", b" 0 GET\n", "GET\n", "", b"")
def test_method_url_and_body_are_never_mixed_up(
    method: str, path: str, body: bytes, other_method: str, other_path: str, other_body: bytes
) -> None:
    one = fingerprint(Request(f"http://h/{path}", method, body=body))
    other = fingerprint(Request(f"http://h/{other_path}", other_method, body=other_body))
    same = (method.upper(), path, body) == (other_method.upper(), other_path, other_body)
    assert (one == other) is same
    assert len(one) == SIZE


def test_each_session_sees_a_page_for_itself() -> None:
    in_a, in_b = (Request("http://x/", session=name) for name in "ab")
    assert len({fingerprint(in_a), fingerprint(in_b), fingerprint(Request("http://x/"))}) == 3
