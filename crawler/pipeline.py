"""Item steps: plain callables `item -> item | None`, applied in order as results are committed."""

from __future__ import annotations

from collections.abc import Sequence

from crawler.errors import ItemError
from crawler.result import Item, plain
from crawler.spider import Step


class Pipeline:
    """Steps see the items in the order of the output, so a step may keep state."""

    def __init__(self, steps: Sequence[Step] = ()) -> None:
        self._steps = steps

    def apply(self, item: Item) -> Item | None:
        """The item after all steps, or None if one dropped it. Raises what a step raises."""
        for step in self._steps:
            changed = step(item)
            if changed is None:
                return None
            if not isinstance(changed, dict):
                raise ItemError(
                    f"step {_name(step)} returned a {type(changed).__name__}; "
                    "return the item, or None to drop it"
                )
            item = changed
        return plain(item) if self._steps else item


def _name(step: Step) -> str:
    return getattr(step, "__name__", repr(step))
