"""Which items are wanted: `--where`, an expression of JMESPath."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import jmespath
from jmespath.lexer import Lexer
from jmespath.visitor import TreeInterpreter

from crawler.errors import UsageError
from crawler.result import Item
from crawler.wording import plural

_HINT = "text is written in '...', numbers in `...`"
_ORDER = ("lt", "gt", "lte", "gte")

log = logging.getLogger("crawler.output")


class Where:
    """An expression that is true for the items that are wanted. Raises UsageError if it is none."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        try:
            self._parsed = jmespath.compile(expression).parsed
        except Exception as error:  # noqa: BLE001  (RecursionError too)
            raise UsageError(f"--where: {error}\n{_HINT}") from None
        self._interpreter = _Interpreter(_quoted(expression))
        self._is_told = False

    def chosen(self, items: Iterable[Item]) -> Iterator[Item]:
        """Those that are wanted. Raises UsageError, which names the item that can't be judged.

        When all were judged the first time, it is told what can hardly be meant.
        """
        mixed = 0
        for number, item in enumerate(items, 1):
            self._interpreter.is_mixed = False
            is_wanted = self._judge(item, number)
            mixed += self._interpreter.is_mixed
            if is_wanted:
                yield item
        if not self._is_told:
            self._tell(mixed)
        self._is_told = True

    def _judge(self, item: Item, number: int) -> bool:
        try:
            return _is_true(self._interpreter.visit(self._parsed, item))
        except Exception as error:  # noqa: BLE001  (whatever Python has raised)
            raise UsageError(f"--where {self._text}: item {number}: {error}") from None

    def _tell(self, mixed: int) -> None:
        if mixed:
            log.warning(
                "--where: in %s text is compared with a number, which gives null; "
                "to_number(FIELD) makes a number of it",
                plural(mixed, "item", shown=f"{mixed:,}"),
            )
        for name in self._interpreter.missed:
            log.warning('--where: "%s" is a field, and none has that name; %s', name, _HINT)


class _Interpreter(TreeInterpreter):  # type: ignore[misc]  # jmespath has no types
    """One that compares text with a number as the specification has it: the result is null.

    jmespath's own takes both for comparable, because text and text are.
    """

    def __init__(self, quoted: set[str]) -> None:
        super().__init__()
        compare: dict[str, Any] = TreeInterpreter.COMPARATOR_FUNC
        order = {name: partial(self._compared, compare[name]) for name in _ORDER}
        self.COMPARATOR_FUNC = {**compare, **order}
        self.is_mixed = False
        """Whether text was compared with a number."""
        self._quoted = quoted
        self.missed: dict[str, None] = {}
        """Of the names in double quotes those that were looked for, and never found."""

    def visit_field(self, node: Any, value: Any) -> Any:
        """The field's value."""
        name = node["value"]
        if name in self._quoted and value is not None:
            if isinstance(value, dict) and name in value:
                self._quoted.discard(name)
                self.missed.pop(name, None)
            else:
                self.missed[name] = None
        return super().visit_field(node, value)

    def _compared(self, compare: Any, left: Any, right: Any) -> bool | None:
        if isinstance(left, str) is isinstance(right, str):
            return bool(compare(left, right))
        self.is_mixed = True
        return None


def _quoted(expression: str) -> set[str]:
    tokens = Lexer().tokenize(expression)
    return {token["value"] for token in tokens if token["type"] == "quoted_identifier"}


def _is_true(value: Any) -> bool:
    """As JMESPath has it: 0 is true."""
    return bool(value) or (isinstance(value, (int, float)) and value is not False)
