"""What a thumbnail is to be like: plain data, and what `75x75` means."""

from __future__ import annotations

import re
from dataclasses import dataclass

HOWS = ("fit", "crop", "exact")
FORMATS = ("jpeg", "png", "webp")
MAX_SIDE = 16_384
"""Pixels; it is also what WebP can hold."""


@dataclass(frozen=True, slots=True)
class ThumbnailRule:
    """`size` is (width, height) in pixels.

    `how` the picture gets it:

    - `fit`: as large as fits into it, whole and in its proportions, but never enlarged;
    - `crop`: exactly that size, in its proportions; what is too much is cut off on both sides;
    - `exact`: exactly that size, stretched.

    `format` is one of FORMATS; None is that of the picture itself if it is one of them, else png.
    Raises ValueError that says what is wrong.
    """

    size: tuple[int, int]
    how: str = "fit"
    format: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be done."""
        _check_size(self.size)
        if self.how not in HOWS:
            raise ValueError(f"{self.how!r} is no way to make a thumbnail: {', '.join(HOWS)}")
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"{self.format!r} is no format of thumbnails: {', '.join(FORMATS)}")


def parse_size(value: object) -> tuple[int, int]:
    """(width, height) of `75x75`, or of a pair of numbers. Raises ValueError."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*[xX×]\s*([0-9]{1,9})\s*", value)
        if match is None:
            raise ValueError(f"{value!r} is no size; write width x height in pixels, as 75x75")
        value = (int(match[1]), int(match[2]))
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{value!r} is no size; write 75x75, or (75, 75)")  # noqa: TRY004
    size = tuple(value)
    _check_size(size)
    return size


def _check_size(size: tuple[object, ...]) -> None:
    if len(size) != 2 or not all(type(side) is int for side in size):
        raise ValueError(f"{size!r} is no size; give width and height, as (75, 75)")
    if not all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in size):
        raise ValueError(f"{size[0]}x{size[1]}: a side has 1 to {MAX_SIDE:,} pixels")
