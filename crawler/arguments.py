"""`-a key=value`: text -> what the spider's annotations say. Pure rules."""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union

from crawler.errors import UsageError

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def parse_argument(text: str) -> tuple[str, str]:
    """`key=value` as a pair; raises UsageError."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise UsageError(f"-a {text}: write -a key=value, with the name of a parameter as key")
    return key, value


def convert_arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a spider: text converted by its annotations, the rest as it is.

    Understood: str, int, float, bool, Literal, `list[...]` (comma-separated), and any of these or
    None. Raises UsageError for a name the function doesn't have, a value that doesn't fit, or a
    parameter that is missing.
    """
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise UsageError(f"arguments: {given!r} is no dict of names and values")
    try:
        parameters = list(inspect.signature(function).parameters.values())[1:]  # the page is first
    except (ValueError, TypeError):
        raise UsageError(f"{function!r} does not tell its parameters; wrap it in a def") from None
    named = {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for key in given:
        if key not in named and not takes_any:
            raise UsageError(
                f"-a {key}: the spider has no such argument; {_hint(key, list(named))}"
            )
    missing = [p.name for p in named.values() if p.default is p.empty and p.name not in given]
    if missing:
        raise UsageError(f"the spider needs {' and '.join(f'-a {name}=...' for name in missing)}")
    try:
        types_of = typing.get_type_hints(function)
    except Exception:  # noqa: BLE001  (names that exist only for type checkers)
        types_of = {}
    return {
        key: _convert(key, value, types_of.get(key, str)) if isinstance(value, str) else value
        for key, value in given.items()
    }


def arguments_for(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the spider's arguments that a callback names."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(given)
    names = {p.name for p in parameters}
    return {key: value for key, value in given.items() if key in names}


def _hint(key: str, names: list[str]) -> str:
    near = difflib.get_close_matches(key, names, n=2)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"it has {', '.join(names)}" if names else "it takes none"


def _convert(key: str, text: str, wanted: Any) -> Any:
    try:
        return _value(text, wanted)
    except ValueError:
        raise UsageError(f"-a {key}={text}: expected {_in_words(wanted)}") from None


def _value(text: str, wanted: Any) -> Any:
    origin, choices = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is bool:
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise ValueError(text)
    if wanted in (int, float):
        return wanted(text)
    if origin is Literal:
        fitting = [choice for choice in choices if str(choice) == text]
        if not fitting:
            raise ValueError(text)
        return fitting[0]
    if origin is list:
        return [_value(part.strip(), choices[0]) for part in text.split(",") if part.strip()]
    if origin in (Union, types.UnionType):
        return _first_that_fits(text, choices)
    return text


def _first_that_fits(text: str, choices: tuple[Any, ...]) -> Any:
    if type(None) in choices and text.lower() in ("", "none"):
        return None
    # str fits everything, so it comes last.
    for choice in sorted(choices, key=lambda choice: choice is str):
        if choice is not type(None):
            try:
                return _value(text, choice)
            except ValueError:
                continue
    raise ValueError(text)


def _in_words(wanted: Any) -> str:
    if typing.get_origin(wanted) is Literal:
        return " or ".join(str(choice) for choice in typing.get_args(wanted))
    if typing.get_origin(wanted) is list:
        return f"a comma-separated list, each {_in_words(*typing.get_args(wanted))}"
    if typing.get_origin(wanted) in (Union, types.UnionType):
        return " or ".join(map(_in_words, typing.get_args(wanted)))
    names = {
        int: "a whole number",
        float: "a number",
        bool: "yes or no",
        str: "text",
        type(None): "none",
    }
    return names.get(wanted) or str(wanted)
