"""Values of other types: text that is a number, a date, a yes or no."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from crawler.result import Item
from crawler.step import Step

_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def convert(kinds: Mapping[str, str | type] | None = None, /, **more: str | type) -> Step:
    """Convert fields: `convert(votes='int', day='date:%d.%m.%Y')`, in Python also `votes=int`.

    `int`, `float`, `str`, `bool` (true, yes, on, 1 ...), `json` (text of JSON), `date` and
    `datetime`: ISO 8601, or in the format behind the colon as `strptime` has it; they become text
    in ISO 8601. None stays None, a missing field missing; what can't be converted fails the item.
    """
    given = {**(kinds or {}), **more}
    if not given:
        raise ValueError("say what to convert to what: convert(votes='int')")
    converters = {name: _converter(name, kind) for name, kind in given.items()}

    def change(item: Item) -> Item:
        changed = dict(item)
        for name, converter in converters.items():
            value = item.get(name)
            if value is not None:
                try:
                    changed[name] = converter(value)
                except (ValueError, OverflowError) as error:
                    raise ValueError(f"{name}: {value!r:.200} {error}") from None
        return changed

    return change


def _converter(name: str, kind: object) -> Callable[[Any], Any]:
    word = kind.__name__ if isinstance(kind, type) else kind
    if not isinstance(word, str):
        raise ValueError(f"{name}: {kind!r} is no kind of value")  # noqa: TRY004
    what, colon, pattern = word.partition(":")
    if what in _DATES and (pattern or not colon):
        return lambda value: _DATES[what](value, pattern)
    if word in _KINDS:
        return _KINDS[word]
    known = ", ".join((*_KINDS, "date, datetime, date:FORMAT, datetime:FORMAT"))
    raise ValueError(f"{name}: there is no kind {word!r}; there are {known}")


def _whole(value: Any) -> int:
    number = value
    if isinstance(value, str):
        try:
            return int(_digits(value))
        except ValueError:
            number = _exact(value)
    is_number = isinstance(number, (int, float, Decimal)) and not isinstance(number, bool)
    if not is_number or number != int(number):
        raise ValueError("is no whole number")
    return int(number)


def _exact(text: str) -> Decimal:
    """`1e23`, which a float doesn't hold; within the range of floats."""
    _number(text)
    try:
        return Decimal(_digits(text))
    except InvalidOperation:  # an exponent of 20 digits
        raise ValueError("is no whole number") from None


def _number(value: Any) -> float:
    try:
        number = float(_digits(value) if isinstance(value, str) else value)
    except (TypeError, ValueError):  # TypeError: a list, a dict
        raise ValueError("is no number") from None
    if not math.isfinite(number):
        raise ValueError("is no number that JSON can hold")
    return number


def _digits(text: str) -> str:
    if "_" in text:  # which Python would take
        raise ValueError
    return text.strip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _yes_or_no(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = _text(value).strip().lower()
    if word not in _WORDS:
        raise ValueError("is neither true nor false")
    return _WORDS[word]


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None


def _date(value: Any, pattern: str) -> str:
    if pattern:
        return _moment(value, pattern).date().isoformat()
    try:
        return date.fromisoformat(_text(value).strip()).isoformat()
    except ValueError:
        raise ValueError("is no date (2026-11-23); say how it is written: date:%d.%m.%Y") from None


def _datetime(value: Any, pattern: str) -> str:
    if pattern:
        return _moment(value, pattern).isoformat()
    try:
        return datetime.fromisoformat(_text(value).strip()).isoformat()
    except ValueError:
        raise ValueError(
            "is no date and time (2026-11-23T01:48:00); say how it is written: "
            "datetime:%d.%m.%Y %H:%M"
        ) from None


def _moment(value: Any, pattern: str) -> datetime:
    try:
        return datetime.strptime(_text(value).strip(), pattern)  # noqa: DTZ007  (may have a zone)
    except ValueError:
        raise ValueError(f"isn't written as {pattern}") from None


_KINDS: dict[str, Callable[[Any], Any]] = {
    "int": _whole,
    "float": _number,
    "str": _text,
    "bool": _yes_or_no,
    "json": _parsed,
}
_DATES: dict[str, Callable[[Any, str], str]] = {"date": _date, "datetime": _datetime}
