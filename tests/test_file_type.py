"""What a file is, is read from its bytes."""

from __future__ import annotations

import gzip
import io
import time
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.file_type import HEAD_BYTES, SUFFIXES, UNKNOWN, file_type


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF89a\1\0", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
        (b"\0\0\0\x20ftypavif", "image/avif"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\x1aE\xdf\xa3", "video/webm"),
        (b"ID3\4", "audio/mpeg"),
        (gzip.compress(b"x", mtime=0), "application/gzip"),
        (zipped(a=b"b"), "application/zip"),
        (zipped(mimetype=b"application/epub+zip"), "application/epub+zip"),
        (b"wOF2\0\1", "font/woff2"),
        (b"<!DOCTYPE html><title>x", "text/html"),
        (b"\xef\xbb\xbf\r\n <!-- a --><!-- b -->\n<HTML lang=en>", "text/html"),
        (b"<?xml version='1.0'?><!DOCTYPE html PUBLIC '-'>", "text/html"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "image/svg+xml"),
        (b"<?xml version='1.0'?>\n<!-- Inkscape -->\n<svg>", "image/svg+xml"),
        (b"<?xml version='1.0'?><rss>", "application/xml"),
        (b"plain text <html>", "text/plain"),
        ("Größe".encode(), "text/plain"),
        ("text".encode("utf-16"), "text/plain"),
        (b"", "text/plain"),
        (b"\0\1\2\3", UNKNOWN),
        (b"MZ\x90\0", UNKNOWN),
        (b"\x7fELF\2\1", UNKNOWN),
    ],
)
def test_signatures(head: bytes, kind: str) -> None:
    assert file_type(head) == kind


@pytest.mark.parametrize(
    ("head", "declared", "kind"),
    [
        (b"a,b\n1,2\n", "text/csv; charset=utf-8", "text/csv"),
        (b'{"a": 1}', "application/json", "application/json"),
        (b'{"a": 1}', "image/png", "text/plain"),
        (b"a,b\n", "application/x-desktop", "text/plain"),
        (zipped(a=b"b"), DOCX, DOCX),
        (zipped(a=b"b"), "image/png", "application/zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/msword", "application/msword"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", DOCX, UNKNOWN),
        (b"<!doctype html><p>Not found", "image/jpeg", "text/html"),
        (b"\xff\xd8\xff\xe0", "text/html", "image/jpeg"),
        (b"MZ\x90\0", "image/png", UNKNOWN),
        (b"MZ\x90\0", "application/x-msdownload", UNKNOWN),
    ],
)
def test_what_the_server_says_counts_where_the_bytes_leave_it_open(
    head: bytes, declared: str, kind: str
) -> None:
    assert file_type(head, declared) == kind


@given(st.binary(max_size=300), st.text() | st.sampled_from(sorted(SUFFIXES)))
def test_every_type_has_a_suffix(head: bytes, declared: str) -> None:
    assert file_type(head, declared) in SUFFIXES


def test_no_suffix_makes_a_program_of_a_file() -> None:
    assert len(set(SUFFIXES.values())) == len(SUFFIXES)
    assert not set(SUFFIXES.values()) & {".exe", ".js", ".sh", ".bat", ".desktop", ".lnk", ".hta"}


def test_hostile_beginnings_cost_little() -> None:
    started = time.thread_time()
    for head in (
        b"<!--" * 400,
        b"<!-- -->" * 200,
        b" " * 2_000,
        b"<?xml " * 300,
        b"<!---->" * 200 + b"<!--",
    ):
        file_type(head * 100)
    assert time.thread_time() - started < 0.5
    assert HEAD_BYTES < 2_000
