"""A call written as text, `dedupe('id')`: what is called with what, read without running anything.

The same text stands in a decorator, in crawl.toml and behind a flag.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LONE_FILE = "crawled_"
"""What the module of a file in no package begins with, so that it hides no other one."""


@dataclass(frozen=True, slots=True)
class Call:
    """`shop.steps:cheap(limit=3)`; without brackets it is `target` itself that is meant."""

    text: str
    target: str
    """`dedupe`, `package.module:function` or `file.py:function`."""
    has_brackets: bool = False
    arguments: tuple[Any, ...] = ()
    named: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return self.text


def parse_call(text: str) -> Call:
    """Read a call; raises ValueError. Arguments are text in quotes, numbers, lists, dicts ..."""
    text = text.strip()
    target, bracket, rest = text.partition("(")
    target = target.strip()
    if not target or any(character.isspace() for character in target):
        raise ValueError(f"{text!r} names nothing; write dedupe('id') or module:function")
    if not bracket:
        return Call(text, target)
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError(  # noqa: TRY004  (of the text)
            f"{text!r} can't be read; write it as in Python: dedupe('id')"
        )
    positional = tuple(_value(node, text) for node in call.args)
    named = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise ValueError(f"{text!r} has **, which can't be used here")
        named[keyword.arg] = _value(keyword.value, text)
    return Call(text, target, has_brackets=True, arguments=positional, named=named)


def _value(node: ast.expr, text: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, RecursionError, MemoryError):
        shown = ast.unparse(node)
        hint = f"; text stands in quotes: '{shown}'" if isinstance(node, ast.Name) else ""
        raise ValueError(f"{text!r}: {shown} is no value{hint}") from None
