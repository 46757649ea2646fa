"""PNG pictures drawn from a name, so that media downloads have something real to fetch."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

from crawler.demo.exchange import Answer, BadRequestError, Document, Request, page

GALLERY = 12
_CELLS = 5
_CELL_PIXELS = 18


def image(request: Request) -> Answer:
    """A small PNG, another one for every name."""
    if not request.path.endswith(".png"):
        raise BadRequestError("pictures end in .png", status=404)
    return picture(request.path).answer(request)


def gallery(request: Request) -> Answer:
    """A page of pictures: a relative, a scheme-less, a lazy and nine plain ones."""
    sources = [f'src="/images/{number}.png"' for number in range(4, GALLERY + 1)]
    sources.insert(0, 'src="../images/1.png"')
    sources.insert(1, f'src="//{request.site.authority}/images/2.png"')
    sources.insert(2, 'data-src="/images/3.png"')
    return page("Gallery", "\n".join(f'<img {source} alt="">' for source in sources))


@lru_cache(maxsize=512)
def picture(name: str) -> Document:
    """A symmetric pattern of 90 x 90 pixels, another one for every name."""
    bits = zlib.crc32(name.encode())
    color = bytes(80 + (bits >> shift) % 150 for shift in (0, 8, 16))
    rows = b""
    for row in range(_CELLS):
        # Three columns are drawn from the name's bits, two mirror them.
        half = [bits >> (row * 3 + column) & 1 for column in range(3)]
        cells = [*half, half[1], half[0]]
        line = b"".join((color if cell else b"\xf4" * 3) * _CELL_PIXELS for cell in cells)
        rows += (b"\0" + line) * _CELL_PIXELS
    side = _CELLS * _CELL_PIXELS
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b"")
    return Document(b"\x89PNG\r\n\x1a\n" + b"".join(chunks), "image/png")


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
