"""Decompression: right, complete, and never more than the limit."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import content
from crawler.content import ContentDecoder
from crawler.errors import FetchError

PLENTY = 10**8
TEXT = b"practice makes perfect crawlers\n" * 100
PIECE = content._Inflate._PIECE


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()


def two_members(data: bytes) -> bytes:
    return gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "none": ("", bytes),
    "identity": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "gzip in capitals": (" GZip ", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "gzip in two members": ("gzip", two_members),
    "deflate": ("deflate", zlib.compress),
    "deflate without a frame": ("deflate", raw_deflate),
    "gzip in gzip": ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    "deflate in gzip": ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
}


def decode(coding: str, *pieces: bytes, limit: int = PLENTY) -> bytes:
    decoder = ContentDecoder(coding, limit)
    for piece in pieces:
        decoder.feed(piece)
    return decoder.content()


def failure(coding: str, *pieces: bytes, limit: int = PLENTY) -> tuple[str, bool, str]:
    with pytest.raises(FetchError) as caught:
        decode(coding, *pieces, limit=limit)
    found = caught.value.failure
    return found.kind, found.retryable, found.message


# ---- What was packed comes out ----


@pytest.mark.parametrize("kind", CODINGS)
def test_codings(kind: str) -> None:
    coding, pack = CODINGS[kind]
    assert decode(coding, pack(TEXT)) == TEXT


@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
def test_an_empty_body_is_empty_whatever_it_was_to_be(coding: str) -> None:
    assert decode(coding) == b""
    assert decode(coding, b"") == b""


@given(st.data(), st.sampled_from(sorted(CODINGS)), st.binary(max_size=300))
def test_the_content_does_not_depend_on_how_the_bytes_arrive(
    data: st.DataObject, kind: str, body: bytes
) -> None:
    coding, pack = CODINGS[kind]
    packed = pack(body)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packed)), max_size=8)))
    ends = [*cuts, len(packed)]
    pieces = [packed[a:b] for a, b in zip([0, *cuts], ends, strict=True)]
    assert decode(coding, *pieces) == body


@pytest.mark.parametrize("kind", CODINGS)
@pytest.mark.parametrize("over", [-259, -258, -1, 0, 1, 57, 258, 259])
def test_nothing_is_left_behind_where_a_piece_is_full(kind: str, over: int) -> None:
    coding, pack = CODINGS[kind]
    body = b"a" * (PIECE + over)
    assert decode(coding, pack(body)) == body


@pytest.mark.parametrize("size", [1, 2, 7])
def test_members_are_told_apart_byte_by_byte(size: int) -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    pieces = [packed[i : i + size] for i in range(0, len(packed), size)]
    assert decode("gzip", *pieces) == b"one two"


@pytest.mark.parametrize("padding", [b"\0" * 512, b"trailing garbage", b"\x1f", b"\x1fno member"])
def test_what_follows_the_end_is_padding(padding: bytes) -> None:
    packed = gzip.compress(TEXT) + padding
    assert decode("gzip", packed) == TEXT
    assert decode("gzip", *(bytes([byte]) for byte in packed)) == TEXT
    assert decode("gzip", packed, gzip.compress(b"behind the padding")) == TEXT
    assert decode("deflate", zlib.compress(TEXT) + padding) == TEXT


# ---- What is wrong is told ----


@pytest.mark.parametrize("kind", ["gzip", "deflate", "deflate without a frame", "gzip in gzip"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_h6_a_body_that_is_cut_off_is_no_body(kind: str, share: float) -> None:
    coding, pack = CODINGS[kind]
    packed = pack(TEXT)
    cut = packed[: max(1, int(len(packed) * share))]
    assert failure(coding, cut) == ("truncated", True, "the compressed body is cut off")


def test_a_second_member_that_is_cut_off_is_missed() -> None:
    assert failure("gzip", two_members(TEXT)[:-1])[0] == "truncated"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"<html>not packed at all</html>"),
        ("gzip", b"\x1f\x8b\x08\x00" + bytes(range(256))),
        ("gzip", zlib.compress(TEXT)),
        ("deflate", gzip.compress(TEXT, mtime=0)),
        ("deflate", b"<html>"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-8] + bytes(8)),  # a wrong checksum
        ("gzip, gzip", gzip.compress(TEXT, mtime=0)),
    ],
)
def test_h7_what_does_not_unpack_is_a_failure(coding: str, body: bytes) -> None:
    kind, retryable, message = failure(coding, body)
    assert (kind, retryable) == ("decode", False)
    assert message.startswith(f"the body is no valid {coding.partition(',')[0]}: ")


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br", "x" * 1000])
def test_s10_only_what_was_asked_for_is_unpacked(coding: str) -> None:
    kind, retryable, message = failure(coding, b"")
    assert (kind, retryable) == ("decode", False)
    assert "was not asked for" in message
    assert len(message) < 100


def test_l9_codings_are_not_piled_up() -> None:
    packed = TEXT
    for _ in range(5):
        packed = gzip.compress(packed)
    assert decode(", ".join(["gzip"] * 5), packed) == TEXT
    assert failure(", ".join(["gzip"] * 6))[2] == "6 content codings on top of each other"
    assert failure(", ".join(["gzip"] * 20))[2] == "20 content codings on top of each other"


# ---- The limit ----


@pytest.mark.parametrize("kind", CODINGS)
def test_the_limit_is_exact(kind: str) -> None:
    coding, pack = CODINGS[kind]
    body = b" ".join(str(number).encode() for number in range(100_000))
    assert decode(coding, pack(body), limit=len(body)) == body
    assert failure(coding, pack(body), limit=len(body) - 1) == (
        "too-large",
        False,
        f"the page is larger than {len(body) - 1:,} bytes",
    )


@given(st.binary(max_size=2000), st.integers(0, 2000), st.sampled_from(sorted(CODINGS)))
def test_content_is_never_larger_than_the_limit_whatever_the_coding(
    body: bytes, limit: int, kind: str
) -> None:
    coding, pack = CODINGS[kind]
    if len(body) > limit:
        assert failure(coding, pack(body), limit=limit)[0] == "too-large"
    else:
        assert decode(coding, pack(body), limit=limit) == body


def peak_of(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_h8_s9_a_bomb_is_stopped_at_the_limit_not_after(coding: str) -> None:
    packer = zlib.compressobj(9, wbits=15 if coding == "deflate" else 31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    if coding == "gzip, gzip":
        bomb = gzip.compress(bomb)
    assert len(bomb) < 70_000  # it comes in one piece

    peak = peak_of(lambda: failure(coding, bomb, limit=2**20))
    assert peak < 6 * 2**20


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_h8_a_bomb_goes_off_no_further_than_its_first_megabytes(coding: str) -> None:
    pack = zlib.compress if coding == "deflate" else gzip.compress
    bomb = pack(bytes(64 * 2**20))
    if coding == "gzip, gzip":
        bomb = gzip.compress(bomb)
    found = []

    def set_off() -> None:
        found.append(failure(coding, bomb))

    assert peak_of(set_off) < 12 * 2**20
    message = "the page unpacks to more than 1,000 times what was sent"
    assert found == [("too-large", False, message)]


def test_a_small_page_may_be_packed_as_well_as_it_can() -> None:
    body = bytes(2**20)
    assert decode("gzip, gzip", gzip.compress(gzip.compress(body))) == body


def test_what_a_layer_unpacks_to_is_limited_though_it_comes_to_nothing() -> None:
    inner = gzip.compress(b"page") + bytes(64 * 2**20)  # padding, for the inner layer
    assert failure("gzip, gzip", gzip.compress(inner), limit=2**20)[0] == "too-large"


@pytest.mark.parametrize("after", ["padding", "empty members", "empty blocks"])
def test_bytes_that_unpack_to_nothing_do_not_go_on_for_ever(after: str) -> None:
    start, more = {
        "padding": (gzip.compress(b"page"), bytes(1000)),
        "empty members": (b"", gzip.compress(b"") * 50),
        "empty blocks": (gzip.compress(b"", 1)[:10], b"\0\0\0\xff\xff" * 200),
    }[after]

    def endless() -> None:
        decoder = ContentDecoder("gzip", 100_000)
        decoder.feed(start)
        for _ in range(1000):
            decoder.feed(more)

    def stopped() -> None:
        with pytest.raises(FetchError, match="too-large"):
            endless()

    assert peak_of(stopped) < 200_000
