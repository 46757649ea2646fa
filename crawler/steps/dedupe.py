"""Items of one key: the first stays, the others are dropped."""

from __future__ import annotations

from crawler.keys import Keys, digest_of
from crawler.result import Item
from crawler.step import Context, Notes


class Dedupe:
    """Remembers 16 bytes of each key; beyond 64 MB, a million keys, in a temporary file."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        self._fields = fields
        self._notes: Notes | None = None
        self._keys: Keys | None = None

    def open(self, context: Context) -> None:
        """Begin anew, with the keys that earlier sessions of the run saw."""
        self.close()
        self._notes = context.notes
        self._keys = Keys()
        for digest in context.notes:
            self._keys.add(bytes.fromhex(digest))

    def __call__(self, item: Item) -> Item | None:
        """The item, or None if there was one with its key."""
        key: object = item
        if self._fields:
            values = [item.get(name) for name in self._fields]
            if all(value is None for value in values):
                return item
            key = values
        if self._keys is None:  # nobody opened it: in a test
            self._keys = Keys()
        digest = digest_of(key)
        if not self._keys.add(digest):
            return None
        if self._notes is not None:
            self._notes.add(digest.hex())
        return item

    def close(self) -> None:
        """Forget the keys."""
        if self._keys is not None:
            self._keys.close()
        self._keys = self._notes = None


def dedupe(*fields: str) -> Dedupe:
    """Drop an item if there was one with the same values of these fields; of none: the same item.

    Items that have none of the fields all stay.
    """
    for name in fields:
        if not isinstance(name, str):
            raise ValueError(f"{name!r} is no name of a field: dedupe('id')")  # noqa: TRY004
    return Dedupe(fields)
