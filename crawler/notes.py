"""The notes of a run's steps: a line `["step", value]` for each, in one file that only grows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from crawler.part import Part

NOTES = "steps.jsonl"

_encode = json.JSONEncoder(ensure_ascii=False).encode


class StepNotes:
    """The notes of one step (see `crawler.step.Notes`). The file is made for the first note."""

    def __init__(
        self, step: str, part: Callable[[], Part], *, is_there: Callable[[], bool]
    ) -> None:
        self._begin = f"[{_encode(step)}, ".encode(errors="surrogatepass")
        self._part = part
        self._is_there = is_there

    def add(self, value: object) -> None:
        """Note a value. Raises TypeError if JSON can't hold it, OutputError on a broken disk."""
        self._part().append([self._begin + _encode(value).encode(errors="surrogatepass") + b"]"])

    def __iter__(self) -> Iterator[Any]:
        """What was noted so far."""
        if self._is_there():
            for line in self._part().lines():
                if line.startswith(self._begin):
                    yield json.loads(line)[1]
