import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.escape import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://example.org/?q=Größe&page=2", "https://example.org/?q=Größe&page=2"),
        ("书 👩‍💻 \\ [red]", "书 👩‍💻 \\ [red]"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("two\r\nlines\tand a tab", r"two\r\nlines\tand a tab"),
        ("\x7f\x9b31m", r"\x7f\x9b31m"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u2028\udc80", r"\u2028\udc80"),
    ],
)
def test_what_acts_on_a_terminal_is_escaped_and_the_rest_stays(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    shown = printable(text)
    assert {unicodedata.category(character) for character in shown}.isdisjoint({"Cc", "Cs"})
    bidirectional = {unicodedata.bidirectional(character) for character in shown}
    assert bidirectional.isdisjoint({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown
