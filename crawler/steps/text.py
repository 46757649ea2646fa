"""Text as people read it: without markup, without white space that means nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from crawler.response import Response
from crawler.result import Item
from crawler.step import Step

_HIDDEN = frozenset({"script", "style", "template"})
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote body br dd details div dl dt fieldset figcaption figure "
        "footer form h1 h2 h3 h4 h5 h6 header hr html legend li main nav ol option p pre section "
        "select summary table tbody tfoot thead title tr ul",
    )
)
_CELLS = frozenset({"td", "th"})
_SPACE = re.compile(r"\s+")


def strip_html(*fields: str) -> Step:
    """Take markup out of these fields, or of all, lists and dicts included: `<b>a&amp;b</b>` a&b.

    Paragraphs and other blocks become lines; scripts and styles are left out.
    """
    return _of_texts(fields, _without_markup)


def strip_space(*fields: str) -> Step:
    """Take the white space at both ends away, and make one space of all that is between words."""
    return _of_texts(fields, lambda text: " ".join(text.split()))


def _of_texts(fields: tuple[str, ...], change: Callable[[str], str]) -> Step:
    def changed(value: Any) -> Any:
        if isinstance(value, str):
            return change(value)
        if isinstance(value, list):
            return [changed(each) for each in value]
        if isinstance(value, dict):
            return {name: changed(each) for name, each in value.items()}
        return value

    def step(item: Item) -> Item:
        names = fields or tuple(item)
        return {**item, **{name: changed(item[name]) for name in names if name in item}}

    return step


def _without_markup(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    parts: list[str] = []
    # What is still to do, the next at the end: text, or an element whose tail is done.
    left: list[Any] = [Response("", text).selector.root]
    while left:
        node = left.pop()
        if isinstance(node, str):
            parts.append(node)
            continue
        if node.tail:
            left.append(_SPACE.sub(" ", node.tail))
        if not isinstance(node.tag, str) or node.tag in _HIDDEN:
            continue  # a comment
        end = "\n" if node.tag in _BLOCKS else " " if node.tag in _CELLS else ""
        left.append(end)
        left.extend(reversed(node))
        if node.text:
            left.append(_SPACE.sub(" ", node.text))
        left.append(end)
    lines = (_SPACE.sub(" ", line).strip() for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)
