"""Names of files from the web: readable, and unable to do harm."""

from __future__ import annotations

import hashlib
import ntpath
import os
import sys
import unicodedata
from pathlib import Path, PureWindowsPath
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.file_name import MAX_BYTES, file_name, safe_stem, stem_of

HASH = hashlib.sha256(b"content").hexdigest()
WINDOWS_DEVICES = {
    "CON",
    "PRN",
    "AUX",
    "NUL",
    *(f"{d}{n}" for d in ("COM", "LPT") for n in "123456789¹²³"),
}

UGLY = [
    "",
    ".",
    "..",
    "../../../etc/passwd",
    "..\\..\\windows\\system32\\x",
    "/etc/passwd",
    "//server/share/x",
    "\\\\server\\share\\x",
    "C:\\x",
    "C:x",
    "a\0b",
    "a\nb\r\nc",
    "\x1b]0;title\x07",
    "~root",
    "-rf",
    "--help",
    ".bashrc",
    "...",
    " . ",
    "name. . ",
    "CON",
    "con.txt",
    "aux.tar.gz",
    "LPT1",
    "COM¹",
    "NUL .txt",
    "CLOCK$",
    "x.desktop",
    "x.jpg.exe",
    "photo\u202egpj.exe",
    "\u200b\u200d\ufeff",
    "\u0301\u0301\u0301accent first",
    "a" * 300,
    "汉" * 300,
    "👩‍👩‍👧‍👦" * 80,
    "e\u0301" * 300,
    "z\u0300\u0301\u0302" * 200,
    "\ud800half",
    'a:b*c?d"e<f>g|h',
    "$(reboot)`reboot`;reboot&&",
    "%2e%2e%2f%2e%2e%2fx",
    "%00",
    "%ff%fe",
    "file:stream",
    "thumbs",
    ".parts",
]


def is_reserved_on_windows(name: str) -> bool:
    if sys.version_info >= (3, 13):
        return ntpath.isreserved(name)
    return PureWindowsPath(name).is_reserved()


def check(name: str, folder: Path) -> None:
    """It is a name, in every system, and a file of that name is in the folder."""
    assert 0 < len(name.encode()) <= MAX_BYTES
    assert not set(name) & set('/\\:*?"<>|$`~%')
    assert not name.startswith((".", "-", " "))
    assert not name.endswith((".", " "))
    assert name.count(".") == 1
    kinds = {unicodedata.category(each)[0] for each in name}
    assert kinds <= {"L", "M", "N", "P"}, "no control, format, space, symbol or surrogate"
    assert name.partition(".")[0].upper() not in WINDOWS_DEVICES
    assert not is_reserved_on_windows(name)
    assert os.path.normpath(folder / name) == str(folder / name)
    (folder / name).write_bytes(b"x")
    assert (folder / name).resolve().parent == folder.resolve()
    (folder / name).unlink()


@pytest.mark.parametrize("text", UGLY)
def test_the_ugly_list(tmp_path: Path, text: str) -> None:
    (folder := tmp_path / "files").mkdir()
    for url in (
        f"https://x.example/a/{text}",
        f"https://x.example/a/{quote(text, safe='', errors='surrogatepass')}",
        f"https://x.example/a/{quote(quote(text, safe='', errors='surrogatepass'))}.jpg",
        f"https://x.example/{text}/",
        text,
    ):
        check(file_name(url, HASH, ".jpg"), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
    assert not list(folder.iterdir())


@given(st.text())
def test_any_text_gives_a_name(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    check(file_name(f"https://x.example/{text}", HASH, ".txt"), tmp_path_factory.getbasetemp())


@given(st.text())
def test_a_stem_stays_as_it_is(text: str) -> None:
    stem = safe_stem(text)
    assert safe_stem(stem) == stem
    assert unicodedata.is_normalized("NFC", stem)


@pytest.mark.parametrize(
    ("url", "stem"),
    [
        ("https://x.example/a/photo.jpg", "photo"),
        ("https://x.example/a/photo.jpg?size=1#top", "photo"),
        ("https://x.example/Caf%C3%A9%20menu.PDF", "Café-menu"),
        ("https://x.example/Cafe%CC%81.pdf", "Café"),
        ("https://x.example/%E4%B9%A6.zip", "书"),
        ("https://x.example/archive.tar.gz", "archive-tar"),
        ("https://x.example/report_2026-11.csv", "report_2026-11"),
        ("https://x.example/a/b/", "b"),
        ("https://x.example/a%2Fb.png", "b"),
        ("https://x.example/", "file"),
        ("https://x.example", "file"),
        ("https://x.example/image?id=5", "image"),
        ("https://x.example/Version 2.0 (final).pdf", "Version-2-0-final"),
        ("http://[bad", "file"),
    ],
)
def test_a_name_is_readable(url: str, stem: str) -> None:
    assert stem_of(url) == stem


def test_stem_hash_and_suffix_make_a_name() -> None:
    name = file_name("https://x.example/photo.jpg", HASH, ".png")
    assert name == f"photo-{HASH[:16]}.png"


def test_names_of_two_contents_differ_also_where_case_does_not_count() -> None:
    urls = [
        "https://x/Photo.jpg",
        "https://x/PHOTO.JPG",
        "https://y/photo.jpeg",
        "https://z/Pho%CC%81to",
    ]
    hashes = [hashlib.sha256(bytes([number])).hexdigest() for number in range(50)]
    names = [file_name(urls[n % len(urls)], each, ".jpg") for n, each in enumerate(hashes)]
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in names}) == len(names)


@pytest.mark.parametrize("suffix", ["", "jpg", ".JPG", "./x", ".a.b", ".exe\0", "." + "a" * 20])
def test_a_suffix_is_one_of_ours(suffix: str) -> None:
    with pytest.raises(ValueError, match="no suffix"):
        file_name("https://x/", HASH, suffix)


@pytest.mark.parametrize("digest", ["", "../../x", HASH.upper(), HASH[:-1]])
def test_a_hash_is_a_hash(digest: str) -> None:
    with pytest.raises(ValueError, match="no SHA-256"):
        file_name("https://x/", digest, ".jpg")


def test_the_longest_url_gives_a_name_too() -> None:
    assert file_name("https://x/" + "%C3%A9" * 1_300, HASH, ".jpg").startswith("éé")
