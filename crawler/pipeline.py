"""Item steps: plain callables `item -> item | None`, applied in order as results are committed."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from crawler import steps as included
from crawler.call import Call, parse_call
from crawler.errors import CrawlError, ItemError, OutputError, UsageError
from crawler.result import Item, plain
from crawler.step import Context, Page, Step, step_name
from crawler.wording import kind_of

_NESTED = frozenset({dict, list})

log = logging.getLogger("crawler.pipeline")


class _Named(NamedTuple):
    name: str
    """No two in a pipeline have the same one."""
    step: Step
    takes_page: bool


class Pipeline:
    """Steps see the items in the order of the output, so a step may keep state."""

    def __init__(self, steps: Iterable[Step | tuple[str, Step]] = ()) -> None:
        self._steps: list[_Named] = []
        self._open: list[_Named] = []
        for given in steps:
            name, step = given if isinstance(given, tuple) else (step_name(given), given)
            same = sum(other.name.partition(" #")[0] == name for other in self._steps)
            name = f"{name} #{same + 1}" if same else name
            self._steps.append(_Named(name, step, _takes_page(step)))

    def __bool__(self) -> bool:
        """Whether there are steps."""
        return bool(self._steps)

    def open(self, context: Callable[[str], Context]) -> None:
        """Tell the steps that a crawl begins; `context` makes what the step of that name is told.

        Raises UsageError if one can't begin; those that did are closed again.
        """
        for each in self._steps:
            begin = getattr(each.step, "open", None)
            try:
                if begin is not None:
                    begin(context(each.name))
            except (Exception, SystemExit) as error:
                self._close_all()
                log.debug("the step %s could not begin", each.name, exc_info=True)
                raise UsageError(
                    f"the step {each.name} can't begin: {_told(error)}; nothing was fetched"
                ) from error
            self._open.append(each)

    def apply(self, item: Item, page: Page) -> Item | None:
        """The item after all steps, or None if one dropped it. Raises what a step raises.

        The item itself stays as it is; the steps are given a copy, which is theirs to change.
        """
        if not self._steps:
            return item
        item = _copied(item)
        for name, step, takes_page in self._steps:
            try:
                changed = step(item, page=page) if takes_page else step(item)
            except Exception as error:
                error.add_note(f"in the step {name}")
                raise
            if changed is None:
                return None
            if not isinstance(changed, dict):
                raise ItemError(
                    f"the step {name} returned {kind_of(changed)}; "
                    "return the item, or None to drop it"
                )
            item = changed
        made: Item = plain(item)
        return made

    def sync(self) -> None:
        """Have the steps make safe what they were given. Raises OutputError if one can't."""
        for each in self._open:
            make_safe = getattr(each.step, "sync", None)
            if make_safe is not None:
                try:
                    make_safe()
                except (Exception, SystemExit) as error:
                    raise OutputError(
                        f"the step {each.name} can't make safe what it was given: {_told(error)}"
                    ) from error

    def close(self) -> None:
        """Tell the steps, the last one first, that it is over; a second call does nothing.

        Raises OutputError if one can't close, when all were told.
        """
        problems = self._close_all()
        if problems:
            raise OutputError("; ".join(problems))

    def _close_all(self) -> list[str]:
        problems = []
        while self._open:
            name, step, _ = self._open.pop()
            end = getattr(step, "close", None)
            try:
                if end is not None:
                    end()
            except (Exception, SystemExit) as error:
                log.exception("the step %s could not close", name)
                problems.append(f"the step {name} can't close: {_told(error)}")
        return problems


def _copied(value: Any) -> Any:
    """Plain JSON values, with lists and dicts of their own; `deepcopy` takes five times as long."""
    if isinstance(value, dict):
        return {k: _copied(v) if v.__class__ in _NESTED else v for k, v in value.items()}
    return [_copied(v) if v.__class__ in _NESTED else v for v in value]


def make_steps(
    given: Sequence[Step | Call | str], load: Callable[[str], Any]
) -> list[tuple[str, Step]]:
    """Each step with its name; text such as `dedupe('id')` or `module:function` is looked up.

    `load` finds what `module:function` means. Raises UsageError or what `load` raises.
    """
    return [_made(each, load) for each in given]


def _made(given: Step | Call | str, load: Callable[[str], Any]) -> tuple[str, Step]:
    name = str(given) if isinstance(given, (str, Call)) else step_name(given)
    step: Any = given
    if isinstance(given, str):
        try:
            given = parse_call(given)
        except ValueError as error:
            raise UsageError(f"a step can't be used: {error}") from None
    if isinstance(given, Call):
        step = _called(given, load)
    if inspect.isclass(step):
        raise UsageError(f"the step {name} is a class: write {name}(), with what it needs")
    if not callable(step):
        raise UsageError(f"the step {name} is {kind_of(step)}, which can't be called")
    if inspect.iscoroutinefunction(step):
        raise UsageError(f"the step {name} is an async function; write a plain one")
    return name, step


def _called(call: Call, load: Callable[[str], Any]) -> Any:
    """What the text means: `name` and `name(...)` are included, `module:name(...)` is called."""
    if ":" not in call.target:
        if call.target not in included.__all__:
            raise UsageError(_not_included(call))
        made = getattr(included, call.target)
    else:
        made = load(call.target)
        if not call.has_brackets:
            return made
    named = call.named or {}
    try:
        inspect.signature(made).bind(*call.arguments, **named)
    except TypeError as error:
        raise UsageError(f"the step {call}: {error}") from None
    except ValueError:
        pass  # some builtins don't tell what they take
    try:
        return made(*call.arguments, **named)
    except CrawlError:
        raise
    except ValueError as error:
        raise UsageError(f"the step {call}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"the step {call} can't be made: {_told(error)}") from error


def _not_included(call: Call) -> str:
    near = difflib.get_close_matches(call.target, included.__all__, n=1)
    known = near[0] if near else f"one of {', '.join(included.__all__)}"
    return f"there is no step {call.target}; did you mean {known}, or your own module:function?"


def _takes_page(step: Step) -> bool:
    try:
        return "page" in inspect.signature(step).parameters
    except (TypeError, ValueError):  # some builtins don't tell
        return False


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
