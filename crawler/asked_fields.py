"""Fields that something was asked of, and that no item has: probably they were mistyped."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from crawler.result import Item
from crawler.step import Context, Notes

_MAX_NAMES = 30

log = logging.getLogger("crawler.asked_fields")


class AskedFields:
    """Looks at all items; `origins` says of each field what asked for it, `--sort`, say."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self.missing = dict(origins)
        self._first: Item | None = None

    def see(self, item: Item) -> list[str]:
        """The fields that were missing so far and that this item has."""
        if self._first is None:
            self._first = item
        found = [name for name in self.missing if name in item]
        for name in found:
            del self.missing[name]
        return found

    def warn(self) -> None:
        """Tell which are missing, if there were items; a second call does nothing."""
        if self._first is None:
            return
        more = ["..."] if len(self._first) > _MAX_NAMES else []
        names = ", ".join([*list(self._first)[:_MAX_NAMES], *more]) or "none"
        for name, origin in self.missing.items():
            log.warning("%s: no item has the field %s; the first one has %s", origin, name, names)
        self._first = None


class FileFields:
    """A step that looks whether the fields of files and pictures are there, and changes nothing.

    It comes before all others, as files do.
    """

    def __init__(self, origins: Mapping[str, str]) -> None:
        self._origins = origins
        self._fields = AskedFields(origins)
        self._notes: Notes | None = None

    def open(self, context: Context) -> None:
        """Begin anew, with what earlier sessions of the run saw."""
        seen = set(context.notes)
        missing = {name: origin for name, origin in self._origins.items() if name not in seen}
        self._fields = AskedFields(missing)
        self._notes = context.notes

    def __call__(self, item: Item) -> Item:
        """The same item."""
        for name in self._fields.see(item):
            if self._notes is not None:
                self._notes.add(name)
        return item

    def close(self) -> None:
        """Tell which no item had."""
        self._fields.warn()
