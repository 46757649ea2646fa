"""XML 1.0, UTF-8: `<items>`, an `<item>` a line, an element for each value.

What is no text says so: `<price type="number">12.5</price>`, also `boolean`, `null`, `object` and
`list`, which holds `<value>` elements. A key that can't be an element's name is
`<field name="...">`. What XML can't hold, control characters mostly, becomes U+FFFD.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, BinaryIO

from crawler.lines import item_of, json_text

# Names that every parser takes; what the editions of XML 1.0 differ in is left out.
_NAME = re.compile(r"(?!(?i:xml))[A-Za-z_À-ÖØ-öø-ÿ一-龥][\w.-]*", re.ASCII)
_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_SPECIAL = re.compile(f"[&<>\r{_REFUSED.pattern[1:]}")


class XmlExporter:
    """Written as it comes; whole only after `close`."""

    def open(self, stream: BinaryIO) -> None:
        """Begin the list of items."""
        self._stream = stream
        stream.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<items>\n')

    def write(self, line: bytes) -> None:
        """Add one item."""
        parts = ["<item>"]
        _add_fields(item_of(line), parts)
        parts.append("</item>\n")
        self._stream.write("".join(parts).encode())

    def close(self) -> None:
        """End the list."""
        self._stream.write(b"</items>\n")


def _add_fields(values: dict[str, Any], parts: list[str]) -> None:
    for key, value in values.items():
        begin, end = _tags(key)
        _add(begin, end, value, parts)


def _add(begin: str, end: str, value: Any, parts: list[str]) -> None:
    """Add an element; `begin` lacks its `>`."""
    if isinstance(value, str):
        parts += (begin, ">", _escaped(value) if _SPECIAL.search(value) else value, end)
    elif value is None:
        parts += (begin, ' type="null"/>')
    elif isinstance(value, dict):
        parts += (begin, ' type="object">')
        _add_fields(value, parts)
        parts.append(end)
    elif isinstance(value, list):
        parts += (begin, ' type="list">')
        for each in value:
            _add("<value", "</value>", each, parts)
        parts.append(end)
    else:
        kind = "boolean" if isinstance(value, bool) else "number"
        parts += (begin, f' type="{kind}">', json_text(value), end)


@lru_cache(maxsize=1_000)
def _tags(key: str) -> tuple[str, str]:
    if _NAME.fullmatch(key):
        return f"<{key}", f"</{key}>"
    name = _escaped(key).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
    return f'<field name="{name}"', "</field>"


def _escaped(text: str) -> str:
    text = _REFUSED.sub("\ufffd", text).replace("&", "&amp;").replace("<", "&lt;")
    return text.replace(">", "&gt;").replace("\r", "&#13;")  # parsers make a bare one a \n
