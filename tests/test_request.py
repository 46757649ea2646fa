"""Requests: what `json` and `form` become."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crawler import Request


def test_json_becomes_the_body_of_a_post() -> None:
    request = Request("http://x/", json={"a": [1, None]})
    assert request.method == "POST"
    assert request.body == b'{"a": [1, null]}'
    assert request.headers == {"Content-Type": "application/json"}


def test_form_becomes_the_body_of_a_post() -> None:
    request = Request("http://x/", form={"q": "a b&c", "n": [1, 2]})
    assert request.method == "POST"
    assert request.body == b"q=a+b%26c&n=1&n=2"
    assert request.headers == {"Content-Type": "application/x-www-form-urlencoded"}


def test_a_method_and_a_type_that_were_given_stay() -> None:
    headers = {"content-type": "application/vnd.api+json"}
    request = Request("http://x/", "PUT", headers=headers, json=0)
    assert (request.method, request.body, request.headers) == ("PUT", b"0", headers)


def test_there_is_one_body() -> None:
    with pytest.raises(ValueError, match="one body"):
        Request("http://x/", body=b"", form={})


def test_a_copy_keeps_the_body() -> None:
    request = replace(Request("http://x/", json=1), url="http://y/")
    assert (request.url, request.body, request.method) == ("http://y/", b"1", "POST")
