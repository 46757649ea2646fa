"""Remote text made fit for a terminal."""

from __future__ import annotations

import re

# C0, DEL and C1 move the cursor or start escape sequences; bidi marks and overrides reorder what
# is seen; line and paragraph separators break lines; lone surrogates can't be encoded.
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""`text` on one line, with what could act on a terminal escaped: ESC becomes `\x1b`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
