"""What a request may hold: everything else is told in terms of what the spider wrote."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import crawler
from crawler import Download, Request, Response, spider
from crawler.demo import PracticeSite
from crawler.errors import ItemError, UsageError
from crawler.well_formed import well_formed

URL = "http://site.test/"


class Text(str):
    """A str that isn't quite one, such as bs4 gives."""

    __slots__ = ()


@pytest.mark.parametrize(
    "request_",
    [
        Request(URL),
        Request("http://site.test/caf\xe9"),
        Request(URL, "post", {"X-Name": "caf\xe9", "X-Empty": "", "X-Tab": "a\tb"}, b"body"),
        Request(URL, json={"a": 1}, meta={"page": 1}, priority=-5),
        Request(URL, dont_filter=True, session="a", history=("http://site.test/1",)),
    ],
)
def test_what_is_well_formed_stays_as_it_is(request_: Request) -> None:
    assert well_formed(request_) == request_


def test_subclasses_become_the_plain_types() -> None:
    found = well_formed(Request(Text(URL), Text("GET"), {Text("A"): Text("b")}, session=Text("s")))
    ((name, value),) = found.headers.items()
    texts = [found.url, found.method, name, value, found.session]
    assert texts == [URL, "GET", "A", "b", "s"]
    assert {type(text) for text in texts} == {str}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"headers": {"X-Page": 5}}, "the header X-Page is of type int; values of headers are text"),
    ({"headers": {"X-Page": None}}, "the header X-Page is None; values of headers are text"),
    ({"headers": {"X-Page": b"5"}}, "the header X-Page is of type bytes; values"),
    ({"headers": {5: "a"}}, "the name of a header is of type int; names of headers are text"),
    ({"headers": {"X Page": "5"}}, "'X Page' is no name of a header; it may have letters"),
    ({"headers": {"": "5"}}, "'' is no name of a header"),
    ({"headers": {"A": "b\r\nC: d"}}, "the header A has a line break or control character"),
    ({"headers": {"A": "b\n"}}, "the header A has a line break or control character"),
    ({"headers": {"A": " b"}}, "the header A begins with white space"),
    ({"headers": None}, "the headers are None; give a dict of names and values, both text"),
    ({"headers": [("A", "b")]}, "the headers are of type list; give a dict"),
    ({"method": 5}, '5 is no method; give "GET"'),
    ({"method": "GET /x"}, "'GET /x' is no method"),
    ({"body": "text"}, "the body is of type str; give bytes"),
    ({"meta": None}, "meta is None; give a dict"),
    ({"meta": [1]}, "meta is of type list; give a dict"),
    ({"meta": {"when": {1}}}, "meta['when'] is a set, which JSON can't hold"),
    ({"priority": 1.5}, "the priority 1.5 is no whole number of at most 10^9"),
    ({"priority": True}, "the priority True is no whole number"),
    ({"dont_filter": "yes"}, "dont_filter is 'yes'; give True or False"),
    ({"session": 5}, "the session is of type int; its name is text"),
    ({"history": "http://site.test/1"}, "the history is of type str; it is a tuple of URLs"),
]


@pytest.mark.parametrize(("wrong", "complaint"), WRONG)
def test_what_is_wrong_is_named_with_what_is_allowed(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ItemError) as caught:
        well_formed(replace(Request(URL), **wrong))
    assert str(caught.value).startswith(f"the request for {URL}: {complaint}")


@pytest.mark.parametrize(
    ("url", "kind"), [(None, "None"), (5, "of type int"), (["x"], "of type list")]
)
def test_a_url_is_text(url: Any, kind: str) -> None:
    with pytest.raises(ItemError) as caught:
        well_formed(Request(url))
    assert str(caught.value) == f"the url of the request is {kind}; give text"


def test_a_secret_in_a_header_or_body_is_not_told() -> None:
    wrong = [{"headers": {"Authorization": "hunter2\n"}}, {"body": "hunter2"}]
    for fields in wrong:
        with pytest.raises(ItemError) as caught:
            well_formed(replace(Request(URL), **fields))  # type: ignore[arg-type]
        assert "hunter2" not in str(caught.value)


# ---- Where it is told ----

GIVEN = [
    (Request(URL, headers={"X-Page": 5}), "the header X-Page is of type int"),  # type: ignore[dict-item]
    (Request(None), "the url of the request is None"),  # type: ignore[arg-type]
    (Request(["x"]), "the url of the request is of type list"),  # type: ignore[arg-type]
    (Request(URL, callback=5), "callback=5 is neither a function nor a name of one"),  # type: ignore[arg-type]
    (
        {"cover": Download(URL, headers={"X-Page": 5})},  # type: ignore[dict-item]
        f"item[0]: the Download of {URL}: the header X-Page is of type int",
    ),
]


@pytest.mark.parametrize(("given", "complaint"), GIVEN)
@pytest.mark.parametrize("mode", ["sequential", "async"])
def test_it_fails_the_page_that_gave_it_and_no_other(
    site: PracticeSite, given: Any, complaint: str, mode: str
) -> None:
    """At once: such a header was taken for an outage, and such a URL ended the crawl."""

    @spider()
    def walk(response: Response) -> Any:
        yield {} if response.url.endswith("?fine") else given

    urls = [f"{site.url}/empty", f"{site.url}/empty?fine"]
    result = crawler.run(walk, urls=urls, mode=mode)
    (failure,) = result.failures
    assert failure["url"] == urls[0]
    assert complaint in failure["message"]
    assert (result.stats.requests, result.stats.retries) == (2, 0)
    assert result.items == [{}]


@pytest.mark.parametrize(("given", "complaint"), GIVEN[:4])
def test_at_the_start_it_is_an_error_of_usage(given: Any, complaint: str) -> None:
    @spider()
    def walk(response: Response) -> None: ...

    for start in ([given], iter([given])):
        with pytest.raises(UsageError) as caught:
            crawler.run(walk, urls=start)
        assert complaint in str(caught.value)
