"""What a step is: a callable `item -> item | None`, with hooks if it needs them.

A step that has a parameter called `page` is given the item's page. These methods, if it has them,
are called in the thread that also calls the step:

    open(context)   before the first page, also of a resumed crawl. What it raises ends the crawl
                    before anything is fetched (exit code 2)
    sync()          before each checkpoint, a few times a second at most: what the step was given
                    must be safe when it returns, or a crawl that is killed would never bring it
                    again. What it raises ends the crawl so that it can be resumed (8)
    close()         once, however the crawl ends, unless it is killed; after the last `sync` if it
                    ended by itself or was stopped. What it raises is told with exit code 8
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from crawler.call import LONE_FILE
from crawler.result import Item

Step = Callable[..., Item | None]


@dataclass(frozen=True, slots=True)
class Page:
    """Where an item comes from."""

    url: str
    """The last one, if it was redirected."""
    rank: int
    """Its place in the order of the crawl."""
    fetched_at: datetime
    """In UTC, by the worker's clock."""


class Notes(Protocol):
    """What a step wants to know again when the crawl is resumed: plain JSON values, in order.

    They are kept and cut back together with the items: a resumed step finds those of the items that
    it is not given again, and no others.
    """

    def add(self, value: object) -> None:
        """Note a value. Raises TypeError if JSON can't hold it."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """What was noted so far, by earlier sessions of the run too."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a step's `open` is given."""

    run_name: str
    run_id: str
    is_resumed: bool
    notes: Notes
    spider: Callable[..., Any]
    """The spider's function."""
    item_type: type | None
    """What the decorator's `item` says."""
    load: Callable[[str], Any]
    """Finds what `module:name` means. Raises CrawlError."""


def step_name(step: object) -> str:
    """`module:function` or `file.py:function`; for an object its class: `module:Class`."""
    named = step if hasattr(step, "__qualname__") else type(step)
    name = named.__qualname__.replace(".<locals>", "")
    module = named.__module__
    if module.startswith(LONE_FILE):
        module = f"{module.removeprefix(LONE_FILE)}.py"
    return f"{module}:{name}"
