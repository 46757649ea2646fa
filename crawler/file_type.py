"""What a file is, from its first bytes; the URL doesn't count.

The signatures are those of the WHATWG standard "MIME Sniffing" (sections 6 and 7), and of some
kinds of documents that it leaves out. What a server says of its type counts only where the bytes
leave it open: text may be CSV, a zip archive a word processor's document. Pure rules.
"""

from __future__ import annotations

import re

HEAD_BYTES = 1_445
"""What the standard looks at, at most."""
UNKNOWN = "application/octet-stream"
SUFFIXES = {
    "application/epub+zip": ".epub",
    "application/gzip": ".gz",
    "application/json": ".json",
    "application/msword": ".doc",
    "application/ogg": ".ogg",
    "application/pdf": ".pdf",
    "application/postscript": ".ps",
    "application/rtf": ".rtf",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
    "application/vnd.oasis.opendocument.presentation": ".odp",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.rar": ".rar",
    "application/x-7z-compressed": ".7z",
    "application/x-bzip2": ".bz2",
    "application/x-xz": ".xz",
    "application/xml": ".xml",
    "application/zip": ".zip",
    "application/zstd": ".zst",
    "audio/aiff": ".aiff",
    "audio/flac": ".flac",
    "audio/midi": ".mid",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "font/otf": ".otf",
    "font/ttf": ".ttf",
    "font/woff": ".woff",
    "font/woff2": ".woff2",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/jp2": ".jp2",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/tiff": ".tif",
    "image/webp": ".webp",
    "image/x-icon": ".ico",
    "text/calendar": ".ics",
    "text/css": ".css",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/tab-separated-values": ".tsv",
    "text/vtt": ".vtt",
    "video/avi": ".avi",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    UNKNOWN: ".bin",
}
"""How names end, by type. Nothing that a system would run by its name is among them."""

_MAGIC = [
    (re.compile(signature, re.DOTALL), kind)
    for signature, kind in (
        (rb"%PDF-", "application/pdf"),
        (rb"%!PS-Adobe-", "application/postscript"),
        (rb"\{\\rtf", "application/rtf"),
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF.{4}WEBPVP", "image/webp"),
        (rb"BM.{4}\0{4}", "image/bmp"),
        (rb"\0\0[\x01\x02]\0[^\0]\0", "image/x-icon"),
        (rb"II\*\0|MM\0\*", "image/tiff"),
        (rb"\0{3}\x0cjP  \r\n\x87\n", "image/jp2"),
        (rb".{4}ftypavi[fs]", "image/avif"),
        (rb".{4}ftypqt  ", "video/quicktime"),
        (rb".{4}ftyp(?:mp4|iso|avc1|M4V|dash)", "video/mp4"),
        (rb"\x1aE\xdf\xa3", "video/webm"),
        (rb"RIFF.{4}AVI ", "video/avi"),
        (rb"RIFF.{4}WAVE", "audio/wav"),
        (rb"FORM.{4}AIFF", "audio/aiff"),
        (rb"ID3|\xff[\xfb\xf3\xf2]", "audio/mpeg"),
        (rb"fLaC", "audio/flac"),
        (rb"OggS\0", "application/ogg"),
        (rb"MThd\0{3}\x06", "audio/midi"),
        (rb"wOFF", "font/woff"),
        (rb"wOF2", "font/woff2"),
        (rb"\0\x01\0{3}", "font/ttf"),
        (rb"OTTO", "font/otf"),
        (rb"\x1f\x8b\x08", "application/gzip"),
        (rb"PK\x03\x04.{26}mimetypeapplication/epub\+zip", "application/epub+zip"),
        (rb"PK(?:\x03\x04|\x05\x06)", "application/zip"),
        (rb"Rar!\x1a\x07", "application/vnd.rar"),
        (rb"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
        (rb"BZh[1-9]1AY&SY", "application/x-bzip2"),
        (rb"\xfd7zXZ\0", "application/x-xz"),
        (rb"\x28\xb5\x2f\xfd", "application/zstd"),
    )
]
# Before the first element stand white space, comments, and in XML a declaration. (?>) keeps the
# expression from trying all ways to tell comments apart.
_BEFORE = rb"(?:\xef\xbb\xbf)?\s*+(?:<\?xml[^>]*>\s*+)?(?>(?:<!--.*?-->\s*+)*)"
_MARKUP = [
    (re.compile(_BEFORE + signature, re.DOTALL | re.IGNORECASE), kind)
    for signature, kind in (
        (
            rb"<(?:!doctype html|html|head|script|iframe|style|body|title|h1|div|p|table|br)[\s>]",
            "text/html",
        ),
        (rb"(?:<!doctype svg[^>]*>\s*+)?<svg[\s>]", "image/svg+xml"),
    )
] + [(re.compile(rb"(?:\xef\xbb\xbf)?\s*+<\?xml\s"), "application/xml")]
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

_IN_ZIP = frozenset(kind for kind in SUFFIXES if "opendocument" in kind or "openxml" in kind)
_IN_OLE = frozenset(
    {"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"}
)
_AS_TEXT = frozenset({kind for kind in SUFFIXES if kind.startswith("text/")} | {"application/json"})


def file_type(head: bytes, declared: str | None = None) -> str:
    """The type of a file that begins with `head`: one of SUFFIXES.

    `declared` is the Content-Type that came with it.
    """
    said = (declared or "").partition(";")[0].strip().lower()
    head = head[:HEAD_BYTES]
    for signature, kind in (*_MAGIC, *_MARKUP):
        if signature.match(head):
            return said if kind == "application/zip" and said in _IN_ZIP else kind
    if head.startswith(_OLE):
        return said if said in _IN_OLE else UNKNOWN
    if head.startswith(_UTF_16) or not _BINARY.search(head):
        return said if said in _AS_TEXT else "text/plain"
    return UNKNOWN
