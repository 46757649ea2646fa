"""Items that are what the spider says: a dataclass, a TypedDict, or a class as pydantic's are."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

from crawler.request import Request
from crawler.result import Item
from crawler.step import Context

_MAX_PROBLEMS = 5

Check = Callable[[Any, str], Any]
"""Of a value and its place: the value, or an object made of it; raises ValueError."""


def validate(item_type: type | str | None = None, /) -> Validate:
    """Fail an item that isn't of this type: a class or `'module:Class'`, by default the spider's.

    That is `@spider(item=Class)`, or what the function says it returns: `Iterator[Class]`. An item
    is checked field by field; a dataclass is then made of it, so that its defaults are filled in
    and its `__post_init__` may have a say, and a class with `model_validate` (pydantic) does it
    all by itself. Fields that the type doesn't have fail the item too.
    """
    if item_type is not None and not isinstance(item_type, (type, str)):
        raise ValueError(f"{item_type!r} is no class: validate('shop.items:Product')")
    return Validate(item_type)


class Validate:
    """Knows at `open` what it is to check."""

    def __init__(self, item_type: type | str | None) -> None:
        self._wanted = item_type
        self._check = _check_of(item_type) if isinstance(item_type, type) else None

    def open(self, context: Context) -> None:
        """Find the type. Raises ValueError if there is none, or one that can't be checked."""
        wanted: Any = self._wanted
        if isinstance(wanted, str):
            wanted = context.load(wanted)
        if wanted is None:
            wanted = context.item_type or _returned(context.spider)
        self._check = _check_of(wanted)

    def __call__(self, item: Item) -> Item:
        """The item, with defaults filled in."""
        if self._check is None:
            raise ValueError("validate() outside a crawl needs the type: validate(Product)")
        checked = self._check(item, "item")
        return _plain(checked)


def _plain(checked: Any) -> Item:
    if isinstance(checked, dict):
        return checked
    if dataclasses.is_dataclass(checked) and not isinstance(checked, type):
        return dataclasses.asdict(checked)
    item: Item = checked.model_dump(mode="json")
    return item


def _returned(function: Callable[..., Any]) -> Any:
    """What a spider's annotation says that it returns, without lists and Requests around it."""
    name = getattr(function, "__name__", repr(function))
    hint = "say it by @spider(item=Product), -> Iterator[Product], or validate('module:Product')"
    try:
        found = typing.get_type_hints(function).get("return")
    except Exception as error:
        raise ValueError(f"the annotations of {name} can't be read ({error}); {hint}") from error
    kinds = list(_items_of(found))
    if not kinds:
        raise ValueError(f"{name} doesn't say what its items are; {hint}")
    return kinds[0] if len(kinds) == 1 else Union[tuple(kinds)]  # noqa: UP007  (made of a list)


def _items_of(found: Any) -> Iterable[Any]:
    if get_origin(found) in (Union, types.UnionType):
        for each in get_args(found):
            yield from _items_of(each)
    elif get_origin(found) is not None and get_origin(found) is not dict:
        if get_args(found):
            yield from _items_of(get_args(found)[0])  # of a Generator, too
    elif found is not None and _is_item_type(found):
        yield found


def _is_item_type(kind: Any) -> bool:
    return kind is not Request and (
        typing.is_typeddict(kind)
        or dataclasses.is_dataclass(kind)
        or hasattr(kind, "model_validate")
    )


# ---- A check for each kind of annotation; all are made before the first item comes ----


def _check_of(kind: Any, known: dict[Any, Check] | None = None) -> Check:
    """`known` are the dataclasses and TypedDicts around it, which may hold themselves."""
    known = {} if known is None else known
    origin = get_origin(kind)
    if kind is Any or kind is object:
        return lambda value, _: value
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind is None or kind is type(None):
        return _none
    if origin in (Union, types.UnionType):
        return _one_of(kind, known)
    if origin is Literal:
        return _literal(get_args(kind))
    if origin in (Annotated, Required, NotRequired):
        return _check_of(get_args(kind)[0], known)
    if kind in (list, dict):
        return _instance(kind)
    if origin is list:
        return _list(_check_of(get_args(kind)[0], known))
    if origin is dict and get_args(kind)[0] is str:
        return _dict(_check_of(get_args(kind)[1], known))
    if hasattr(kind, "model_validate"):
        return lambda value, _: kind.model_validate(value)
    if _is_item_type(kind):
        return known[kind] if kind in known else _record(kind, known)
    raise ValueError(
        f"validate can't check {_called(kind)}: an item holds str, int, float, bool, None, list[], "
        "dict[str, ], Literal, dataclasses and TypedDicts"
    )


def _record(kind: type, known: dict[Any, Check]) -> Check:
    """A dict with the fields of a dataclass or TypedDict."""
    hints = typing.get_type_hints(kind, include_extras=True)
    required = _required(kind, hints)
    checks: dict[str, Check] = {}
    make = kind if dataclasses.is_dataclass(kind) else None

    def check(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is {_shown(value)}, no {kind.__name__}")  # noqa: TRY004
        problems = [f"{where} has no {name!r}" for name in required if name not in value]
        checked = {}
        for name, each in value.items():
            if name not in checks:
                problems.append(_unknown(where, name, checks, kind))
                continue
            try:
                checked[name] = checks[name](each, name if where == "item" else f"{where}.{name}")
            except ValueError as error:
                problems.append(str(error))
        if problems:
            more = f" and {len(problems) - _MAX_PROBLEMS} more" * (len(problems) > _MAX_PROBLEMS)
            raise ValueError("; ".join(problems[:_MAX_PROBLEMS]) + more)
        return checked if make is None else make(**checked)

    known[kind] = check
    for name, hint in hints.items():
        if make is None or name in {field.name for field in dataclasses.fields(make) if field.init}:
            checks[name] = _check_of(hint, known)
    return check


def _required(kind: Any, hints: Mapping[str, Any]) -> list[str]:
    if dataclasses.is_dataclass(kind):
        missing = dataclasses.MISSING
        return [
            field.name
            for field in dataclasses.fields(kind)
            if field.init and field.default is missing and field.default_factory is missing
        ]
    # Where annotations are text, Python 3.11 doesn't see NotRequired in them.
    return [
        name
        for name, hint in hints.items()
        if get_origin(hint) is Required
        or (name in kind.__required_keys__ and get_origin(hint) is not NotRequired)
    ]


def _unknown(where: str, name: str, known: Iterable[str], kind: type) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{where} has {name!r}, which {kind.__name__} doesn't have{hint}"


def _one_of(union: Any, known: dict[Any, Check]) -> Check:
    kinds = get_args(union)
    checks = [_check_of(kind, known) for kind in kinds]

    def check(value: Any, where: str) -> Any:
        problems = []
        for each in checks:
            try:
                return each(value, where)
            except ValueError as error:
                problems.append(str(error))
        if value is not None and len(problems) == 2 and type(None) in kinds:
            raise ValueError(problems[kinds.index(type(None)) - 1])  # of the other one
        raise ValueError(" and ".join(problems))

    return check


def _list(inner: Check) -> Check:
    def check(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"{where} is {_shown(value)}, no list")  # noqa: TRY004
        return [inner(each, f"{where}[{index}]") for index, each in enumerate(value)]

    return check


def _dict(inner: Check) -> Check:
    def check(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is {_shown(value)}, no dict")  # noqa: TRY004
        return {name: inner(each, f"{where}[{name!r}]") for name, each in value.items()}

    return check


def _literal(values: tuple[Any, ...]) -> Check:
    def check(value: Any, where: str) -> Any:
        if not any(value == each and type(value) is type(each) for each in values):
            raise ValueError(f"{where} is {_shown(value)}, none of {', '.join(map(repr, values))}")
        return value

    return check


def _instance(*kinds: type) -> Check:
    def check(value: Any, where: str) -> Any:
        if type(value) not in kinds:  # True is no int here
            raise ValueError(f"{where} is {_shown(value)}, no {kinds[0].__name__}")
        return value

    return check


def _none(value: Any, where: str) -> None:
    if value is not None:
        raise ValueError(f"{where} is {_shown(value)}, not None")


_SCALARS: dict[Any, Check] = {
    str: _instance(str),
    int: _instance(int),
    float: _instance(float, int),
    bool: _instance(bool),
}


def _shown(value: object) -> str:
    return f"{value!r:.60}"


def _called(kind: Any) -> str:
    return getattr(kind, "__qualname__", None) or str(kind)
