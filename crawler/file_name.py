"""What a file from the web is called on disk: readable, and safe wherever it may be copied to.

    https://site.example/a/Caf%C3%A9%20menu.PDF?x=1  ->  Café-menu-9f86d081884c7d65.pdf

The stem is taken from the last part of the URL's path, the middle from the content's hash, the
suffix from the content's type. So a name can't leave its folder or mean something else there
(`..`, `/etc/x`, `a\\b`, `C:x`, NUL, `.bashrc`), can't be a device of Windows (`CON`, `aux.txt`),
can't lie about its kind (`x.jpg.exe`, right-to-left overrides), fits everywhere (143 bytes, as
encrypted file systems have it), and two contents never share a name, also where case or Unicode
normal forms don't count. Pure rules.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote, urlsplit

MAX_BYTES = 143
"""Of a name in UTF-8; eCryptfs takes no more, others 255."""
_HASH_DIGITS = 16
"""Of the content's SHA-256 in the name: among a million contents two share it with a chance of
1 in 10 ** 7; the store looks before it takes a name."""
_MAX_STEM_BYTES = 100
_NO_NAME = "file"
_KEPT = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd", "Nl", "No"})
"""Unicode categories of letters, their marks, and numbers."""
_SUFFIX = re.compile(r"\.[a-z0-9]{1,10}")


def file_name(url: str, sha256: str, suffix: str) -> str:
    """The name of the file with the content that hash (64 hexadecimal digits) is of.

    `suffix` is one of ours, as `.jpg`; raises ValueError if it isn't like that.
    """
    if not _SUFFIX.fullmatch(suffix):
        raise ValueError(f"{suffix!r} is no suffix of a file's name")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"{sha256!r} is no SHA-256 in hexadecimal digits")
    return f"{stem_of(url)}-{sha256[:_HASH_DIGITS]}{suffix}"


def stem_of(url: str) -> str:
    """What a URL calls the thing it leads to, in letters, numbers, `-` and `_` of any script."""
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    text = re.split(r"[/\\]", unquote(path.rstrip("/"), errors="replace"))[-1]
    head, dot, tail = text.rpartition(".")
    if dot and re.fullmatch(r"[A-Za-z0-9]{1,10}", tail):
        text = head
    return safe_stem(text)


def safe_stem(text: str) -> str:
    """The text in letters, numbers, `-` and `_`, of at most 100 bytes; never empty."""
    text = unicodedata.normalize("NFC", text[: 4 * _MAX_STEM_BYTES])
    kept = "".join(
        each if each == "_" or unicodedata.category(each) in _KEPT else "-" for each in text
    )
    stem = re.sub(r"-{2,}", "-", kept).strip("-_")
    # A mark at the beginning would be put on whatever stands before the name.
    while stem and unicodedata.category(stem[0]).startswith("M"):
        stem = stem[1:].lstrip("-_")
    stem = stem.encode()[:_MAX_STEM_BYTES].decode(errors="ignore").rstrip("-_")
    return stem or _NO_NAME
