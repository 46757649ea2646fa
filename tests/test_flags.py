"""What `--urls` means: files, patterns, stdin."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from crawler.cli.flags import flag_layers, read_urls
from crawler.errors import UsageError


def test_flags_that_were_not_given_are_no_layer() -> None:
    layers = flag_layers({"delay": None, "max_body": "1", "allow_hosts": ("a", "b"), "deny": ()})
    assert layers == [
        ("--max-body", {"max_body": "1"}),
        ("--allow-host", {"allow_hosts": ("a", "b")}),
    ]


def test_files_and_patterns_in_the_order_they_are_given(tmp_cwd: Path) -> None:
    Path("urls.txt").write_text("# mine\nhttp://a/{1..2}\n\nhttp://b/\n")
    urls = read_urls(("http://c/{1..2}", "urls.txt"))
    # A file holds URLs, no patterns: braces may be meant.
    assert urls == ["http://c/1", "http://c/2", "http://a/{1..2}", "http://b/"]
    assert read_urls(()) is None


def test_a_pattern_of_a_billion_urls_is_made_as_it_goes() -> None:
    urls = read_urls(("http://a/{1..1000000000}",))
    assert not isinstance(urls, list)
    assert urls is not None
    assert next(urls) == "http://a/1"


def test_stdin_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("http://a/\nhttp://b/\n"))
    urls = read_urls(("-",))
    assert not isinstance(urls, list)
    assert list(urls or ()) == ["http://a/", "http://b/"]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("127.0.0.1:80/text/", "a URL begins with http://"),
        ("latin1.txt", "can't decode"),
        ("http://a/" + "{1,2}" * 21, "more than 20 groups of braces"),
    ],
)
def test_what_can_not_be_read(source: str, complaint: str, tmp_cwd: Path) -> None:
    Path("latin1.txt").write_bytes(b"http://caf\xe9/")
    with pytest.raises(UsageError, match=complaint):
        read_urls((source,))
