"""A body's bytes as sent -> its content: decompressed, checked for completeness, bounded."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from crawler.errors import FetchError
from crawler.result import Failure

ACCEPT_ENCODING = "gzip, deflate"
_MAX_CODINGS = 5
"""As in urllib3. Nobody needs more than one; twenty are an attack."""
_MAX_RATIO = 1_000
"""Deflate packs nothing but endless repetition that well (it ends at 1,032), and pages some 10:1.
So this stops a bomb after a few megabytes, and a bomb in a bomb after the first one."""
_RATIO_COUNTS_FROM = 2**20
_SLICE = 4 * 1024
"""What is unpacked at once: the ratio is known only as closely."""
_GZIP_MAGIC = b"\x1f\x8b"


class ContentDecoder:
    """Undoes Content-Encoding piece by piece, so that a bomb is stopped at the limit, not after.

    With `keep`, the content goes there piece by piece, and none of it is held here.
    Raises FetchError of kind `too-large`, `decode` or `truncated`.
    """

    def __init__(
        self, content_encoding: str, limit: int, *, keep: Callable[[bytes], object] | None = None
    ) -> None:
        names = [name.strip().lower() for name in content_encoding.split(",")]
        codings = [name for name in names if name not in ("", "identity")]
        if len(codings) > _MAX_CODINGS:
            raise _failed("decode", f"{len(codings)} content codings on top of each other")
        self._stages = [_Inflate(name) for name in reversed(codings)]
        self._limit = limit
        self._taken = [0] * len(self._stages)
        """Bytes that went into each stage; into the first one, as they came over the wire."""
        self._received = 0
        self._content = bytearray()
        self._size = 0
        self._keep_piece = keep or self._content.extend
        self._what = "page" if keep is None else "file"

    def feed(self, data: bytes) -> None:
        """Take the next bytes as they came over the wire."""
        size = _SLICE if self._stages else len(data) or 1  # what isn't packed can't be a bomb
        for start in range(0, len(data), size):
            part = data[start : start + size]
            self._received += len(part)
            self._through(part, 0)

    def _through(self, data: bytes, stage: int) -> None:
        if stage == len(self._stages):
            self._keep(data)
            return
        self._taken[stage] += len(data)
        if self._taken[stage] > 2 * self._limit + 1024:  # of what unpacks to little or nothing
            raise self._too_large()
        for piece in self._stages[stage].pieces(data):
            self._through(piece, stage + 1)

    def _keep(self, data: bytes) -> None:
        size = self._size + len(data)
        if size > self._limit:
            self._keep_piece(data[: self._limit - self._size])
            raise self._too_large()
        if size > max(_RATIO_COUNTS_FROM, self._received * _MAX_RATIO):
            message = f"the {self._what} unpacks to more than {_MAX_RATIO:,} times what was sent"
            raise _failed("too-large", message)
        self._keep_piece(data)
        self._size = size

    def content(self) -> bytes:
        """All of it, once the last byte was fed."""
        for stage in self._stages:
            if stage.is_cut_off:
                raise _failed("truncated", "the compressed body is cut off", retryable=True)
        return bytes(self._content)

    def so_far(self) -> bytes:
        """What was fed up to now, or up to the limit."""
        return bytes(self._content)

    def _too_large(self) -> FetchError:
        return _failed("too-large", f"the {self._what} is larger than {self._limit:,} bytes")


class _Inflate:
    """gzip (RFC 1952, also several members in a row) and deflate (RFC 1950, or bare RFC 1951)."""

    _PIECE = 256 * 1024

    def __init__(self, coding: str) -> None:
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise _failed("decode", f"the content coding {coding[:40]!r} was not asked for")
        self._coding = coding
        self._decompress: zlib._Decompress | None = None
        self._after_end: bytes | None = None
        """What came after the end, as long as another gzip member may begin with it."""
        self._is_over = False
        self.is_cut_off = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Unpacked as they are taken, so that whoever has enough can stop."""
        if self._is_over:
            return
        if self._after_end is not None:
            data = self._next_member(self._after_end + data)
        piece = b""
        while data or len(piece) == self._PIECE:  # a full piece: zlib may hold back the rest of it
            if self._decompress is None:
                self._decompress = self._start(data)
                self.is_cut_off = True
            try:
                piece = self._decompress.decompress(data, self._PIECE)
            except zlib.error as error:
                raise _failed("decode", f"the body is no valid {self._coding}: {error}") from None
            yield piece
            data = self._decompress.unconsumed_tail
            if self._decompress.eof:
                self.is_cut_off = False
                data, piece = self._next_member(self._decompress.unused_data), b""

    def _next_member(self, data: bytes) -> bytes:
        """`data` if a gzip member begins there; anything else after the end is padding."""
        if self._coding == "deflate" or not _GZIP_MAGIC.startswith(data[:2]):
            self._is_over = True
            return b""
        if len(data) < len(_GZIP_MAGIC):
            self._after_end = data
            return b""
        self._decompress = self._after_end = None
        return data

    def _start(self, data: bytes) -> zlib._Decompress:
        if self._coding != "deflate":
            return zlib.decompressobj(wbits=31)
        # "deflate" means zlib's format, but some servers send the bare stream.
        has_zlib_header = data[0] & 0x0F == 8
        return zlib.decompressobj(wbits=15 if has_zlib_header else -15)


def _failed(kind: str, message: str, *, retryable: bool = False) -> FetchError:
    return FetchError(Failure(kind, message, retryable=retryable))
