"""The error tree: drawn in its module, true, and each error says what to do."""

from __future__ import annotations

import inspect
import re

import pytest

from crawler import CrawlError, errors
from crawler.errors import FetchError, SettingError, UsageError
from crawler.result import Failure


@pytest.mark.parametrize("after", ["10", float("nan"), float("inf"), -1])
def test_a_retry_comes_after_seconds(after: float) -> None:
    with pytest.raises((TypeError, ValueError), match="after="):
        errors.Retry("later", after=after)


ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__ == errors.__name__
]


def drawn() -> dict[str, str]:
    """Each error in the drawing, and the one it stands under."""
    assert errors.__doc__ is not None
    parents, above = {}, {}
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ([│├└─ ]*)([A-Z]\w+)(?:  |$)", line)
        if match:
            depth = len(match[1]) // 4
            above[depth] = match[2]
            parents[match[2]] = above[depth - 1] if depth else "Exception"
    return parents


def test_the_drawing_is_the_tree() -> None:
    assert drawn() == {kind.__name__: kind.__mro__[1].__name__ for kind in ALL}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_ours_and_has_an_exit_code(kind: type[CrawlError]) -> None:
    assert issubclass(kind, CrawlError)
    codes = {UsageError: 2, errors.LockedError: 5, errors.OutputError: 8}
    expected = next((codes[each] for each in kind.__mro__ if each in codes), 1)
    assert kind.exit_code == expected
    assert kind.__doc__


def test_a_setting_error_tells_setting_problem_and_origin() -> None:
    error = SettingError("delay", "'x' is no number of seconds", "crawl.toml")
    assert str(error) == "delay: 'x' is no number of seconds (from crawl.toml)"
    assert (error.name, error.problem, error.origin) == (
        "delay",
        "'x' is no number of seconds",
        "crawl.toml",
    )


def test_a_fetch_error_carries_its_failure() -> None:
    failure = Failure("timeout", "too slow", retryable=True)
    error = FetchError(failure)
    assert str(error) == "timeout: too slow"
    assert error.failure is failure
