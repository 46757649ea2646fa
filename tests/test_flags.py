"""What flags mean: names, and `--urls`, which is files, patterns, stdin."""

from __future__ import annotations

import io
from pathlib import Path

import click
import pytest

from crawler.cli import crawl
from crawler.cli.flags import flag_layers, read_urls
from crawler.cli.run import run
from crawler.errors import UsageError
from crawler.settings import Settings


def test_flags_that_were_not_given_are_no_layer() -> None:
    layers = flag_layers({"delay": None, "max_body": "1", "allow_hosts": ("a", "b"), "deny": ()})
    assert layers == [
        ("--max-body", {"max_body": "1"}),
        ("--allow-host", {"allow_hosts": ("a", "b")}),
    ]


def test_help_names_the_statuses_that_are_tried_again() -> None:
    (option,) = [each for each in run.params if each.name == "retry_statuses"]
    assert isinstance(option, click.Option)
    assert f"({','.join(map(str, Settings().retry_statuses))})" in (option.help or "")


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


# ---- Names ----

NAMES = [
    ("run % --urls http://x/", "SPIDER"),
    ("run posts --name %", "--name"),
    ("run posts --output-dir %", "--output-dir"),
    ("resume %", "RUN"),
    ("resume --output-dir %", "--output-dir"),
    ("retry %", "RUN"),
    ("retry posts --output-dir %", "--output-dir"),
    ("runs %", "NAME"),
    ("runs --output-dir %", "--output-dir"),
    ("why http://x/ --run %", "--run"),
    ("why http://x/ --output-dir %", "--output-dir"),
    ("export % -o a.json", "RUN|FILE"),
    ("export posts -o a.json --output-dir %", "--output-dir"),
    ("list %", "FOLDER"),
    ("compare %", "SPIDER"),
    ("watch %", "RUN"),
    ("watch --output-dir %", "--output-dir"),
    ("thumbs % out", "DIR"),
    ("thumbs in %", "OUT"),
]


@pytest.mark.parametrize(("command", "what"), NAMES)
def test_a_name_is_not_empty_and_no_longer_than_names_are(
    command: str, what: str, tmp_cwd: Path
) -> None:
    """An empty one was the working directory; a long one was a traceback."""
    refused = [
        ("", "an empty name names nothing"),
        ("folder/" + "\u6c49" * 100, "a name of 300 bytes; file systems take 255"),
        ("a/" * 3_000, "a path of 6,000 bytes; systems take 4,095"),
    ]
    for name, complaint in refused:
        arguments = [name if word == "%" else word for word in command.split()]
        with pytest.raises(UsageError) as caught:
            crawl.main(arguments, prog_name="crawl", standalone_mode=False)
        assert str(caught.value) == f"{what}: {complaint}"
    assert not list(tmp_cwd.iterdir())
