"""Pictures -> thumbnails, by Pillow. The home of Pillow.

The kind of a picture is taken from its bytes, never from its name. Only formats of the web are
read: Pillow knows forty, and for some starts other programs (EPS). Of an animation the first frame
counts. A thumbnail is as the picture is shown: turned as its EXIF says, its colours converted to
sRGB; nothing else of what the file tells (place, camera, comments) is in it. The same picture and
rule give the same bytes.
"""

from __future__ import annotations

import functools
import importlib
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from crawler.errors import ImageError
from crawler.publish import replacing
from crawler.thumbnail_rule import ThumbnailRule

# Pillow warns on stderr of what it could mend, and of sizes that we judge ourselves; a crawl of
# many pictures would print little else. `warnings.catch_warnings` is not for threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

MAX_PIXELS = 64 * 1024 * 1024
"""Of a picture that is opened: 8,192 x 8,192. A PNG of 100 KB may unpack to a thousand times that;
decoded, each takes 3 or 4 bytes."""
_READ = {
    "JPEG": "Jpeg",
    "PNG": "Png",
    "GIF": "Gif",
    "WEBP": "WebP",
    "AVIF": "Avif",
    "BMP": "Bmp",
    "TIFF": "Tiff",
    "ICO": "Ico",
    "JPEG2000": "Jpeg2K",
}
"""And the plugins that read them; to load all of Pillow's takes 60 ms more. JPEG's also finds MPO,
JPEGs with more than one picture."""
_SUFFIXES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}
_SAVE_OPTIONS: dict[str, dict[str, object]] = {
    "jpeg": {"quality": 85, "optimize": True},
    # Level 6, the default, takes half as long again to write it, for 1 % of the size; "optimize"
    # twice the time of all the rest, for another.
    "png": {"compress_level": 3},
    "webp": {"quality": 80},
}
_GAP = 2.0
"""Pillow first reduces cheaply to so many times the wanted size. This and bicubic are what its own
`thumbnail` takes; Lanczos with a gap of 3 costs a quarter more, and nobody sees it."""
_TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
_ORIENTATION = 0x0112
_PER_16_BIT = 1 / 257  # 65,535 becomes 255


@dataclass(frozen=True, slots=True)
class Picture:
    """What the head of a picture tells; `width` and `height` as it is shown."""

    width: int
    height: int
    content_type: str


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """`data` are the bytes of a file of `format`, one of `thumbnail_rule.FORMATS`."""

    data: bytes
    format: str
    width: int
    height: int

    @property
    def suffix(self) -> str:
        """How the name of its file ends."""
        return ".jpg" if self.format == "jpeg" else f".{self.format}"


def measure(source: bytes | Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Kind and size of a picture, from its head; the rest may still be damaged.

    Raises ImageError if it is none, or a bomb; OSError if the file can't be read.
    """
    with _opened(source, max_pixels) as image:
        width, height = _shown_size(image, _orientation(image))
        kind = "JPEG" if image.format == "MPO" else image.format or ""  # several JPEGs in one file
        return Picture(width, height, Image.MIME[kind])


def make_thumbnail(
    source: bytes | Path,
    rule: ThumbnailRule,
    *,
    min_size: tuple[int, int] = (1, 1),
    max_pixels: int = MAX_PIXELS,
) -> Thumbnail:
    """A thumbnail of a picture, given its bytes or its file.

    Raises ImageError if it is none, damaged, smaller than `min_size` (width, height), or has more
    than `max_pixels`; OSError if the file can't be read.
    """
    with _opened(source, max_pixels) as image:
        orientation = _orientation(image)
        width, height = _shown_size(image, orientation)
        if width < min_size[0] or height < min_size[1]:
            wanted = f"{min_size[0]}x{min_size[1]}"
            raise ImageError(
                "too-small", f"the picture has {width}x{height} pixels, at least {wanted} is wanted"
            )
        own = (image.format or "").lower()
        format_name = rule.format or {"mpo": "jpeg"}.get(own, own)
        if format_name not in _SAVE_OPTIONS:
            format_name = "png"
        small = _fitted(_turned(_loaded(image, orientation, rule), orientation), rule)
        small = _in_plain_colours(small, image.info.get("icc_profile"))
        if format_name == "jpeg":
            small = _on_white(small)
        small.info = {}  # a PNG would get the profile from there, with the time when it was made
        stream = io.BytesIO()
        small.save(stream, format_name, **_SAVE_OPTIONS[format_name])
        return Thumbnail(stream.getvalue(), format_name, *small.size)


def write_thumbnail(
    source: bytes | Path,
    target: Path,
    rule: ThumbnailRule,
    *,
    min_size: tuple[int, int] = (1, 1),
    max_pixels: int = MAX_PIXELS,
) -> Thumbnail:
    """The same into a file, which appears whole or not at all; its suffix names the format.

    Raises ValueError if it names none, and OSError if the file can't be written.
    """
    format_name = _SUFFIXES.get(target.suffix.lower())
    if format_name is None:
        raise ValueError(f"{target}: thumbnails are files that end in {', '.join(_SUFFIXES)}")
    rule = replace(rule, format=format_name)
    thumbnail = make_thumbnail(source, rule, min_size=min_size, max_pixels=max_pixels)
    with replacing(target) as stream:
        stream.write(thumbnail.data)
    return thumbnail


@contextmanager
def _opened(source: bytes | Path, max_pixels: int) -> Iterator[Image.Image]:
    """The picture, not yet decoded; whatever its decoder raises becomes an ImageError."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        try:
            _refuse_more_than(max_pixels, _icon_size(stream))
            with Image.open(stream, formats=_readable()) as image:
                _refuse_more_than(max_pixels, image.size)
                yield image
        except (ImageError, MemoryError):
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ImageError("too-large", f"the picture has too many pixels: {error}") from error
        except UnidentifiedImageError as error:
            raise ImageError("no-image", "these bytes are no picture that can be read") from error
        except Exception as error:  # on hostile bytes a decoder raises just about anything
            raise ImageError("no-image", f"the picture is damaged: {error}") from error


@functools.cache
def _readable() -> tuple[str, ...]:
    """Pillow may have been built without some; to name one that it doesn't know is an error."""
    for plugin in _READ.values():
        with suppress(ImportError):
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
    return tuple(name for name in _READ if name in Image.OPEN)


def _icon_size(stream: BinaryIO) -> tuple[int, int]:
    """Of the picture in an icon; (0, 0) of what is none, or damaged.

    Pillow decodes it as it opens the icon, whose own words on its size it need not agree with.
    """
    width = height = 0
    if stream.read(4) == b"\0\0\1\0":
        from PIL.BmpImagePlugin import DibImageFile
        from PIL.IcoImagePlugin import IcoFile
        from PIL.PngImagePlugin import PngImageFile

        stream.seek(0)
        with suppress(Exception):  # Pillow will find the same
            begin = IcoFile(stream).entry[0].offset
            stream.seek(begin)
            is_png = stream.read(4) == b"\x89PNG"
            stream.seek(begin)
            if is_png:
                width, height = PngImageFile(stream).size
            else:
                width, height = DibImageFile(stream).size
                height //= 2  # the other half is the mask
    stream.seek(0)
    return width, height


def _refuse_more_than(max_pixels: int, size: tuple[int, int]) -> None:
    pixels = size[0] * size[1]
    if pixels > max_pixels:
        message = f"the picture has {pixels:,} pixels, at most {max_pixels:,} are decoded"
        raise ImageError("too-large", message)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  (a damaged EXIF says nothing about the picture)
        return 1


def _shown_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if orientation in _TURNED else (width, height)


def _loaded(image: Image.Image, orientation: int, rule: ThumbnailRule) -> Image.Image:
    """The decoded picture, with full colours; a large JPEG decoded no larger than needed."""
    width, height = image.size
    box = rule.size[::-1] if orientation in _TURNED else rule.size
    ratios = box[0] / width, box[1] / height
    scale = min(1.0, (min if rule.how == "fit" else max)(ratios) * _GAP)
    image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
    image.load()
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * _PER_16_BIT).convert("L")
    if image.mode in ("I", "F"):
        return _stretched(image)
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        least, _ = image.getchannel("A").getextrema()
        return image if least != 255 else image.convert("RGB")  # opaque: a third less to do
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """Measurements (32 bits a pixel) have no black and white: their least and greatest values."""
    low, high = image.getextrema()
    if not (isinstance(low, (int, float)) and isinstance(high, (int, float))):
        raise ImageError("no-image", "the picture has more than one channel of 32 bits")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError("no-image", "the picture has pixels that are no numbers")
    scale = 255 / (high - low) if high > low else 0.0
    return image.convert("F").point(lambda value: value * scale - low * scale).convert("L")


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    """As it is to be shown."""
    methods = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    method = methods.get(orientation)
    return image if method is None else image.transpose(method)


def _fitted(image: Image.Image, rule: ThumbnailRule) -> Image.Image:
    bicubic = Image.Resampling.BICUBIC
    if rule.how == "crop":
        return ImageOps.fit(image, rule.size, bicubic)
    size = rule.size
    if rule.how == "fit":
        width, height = image.size
        scale = min(1.0, size[0] / width, size[1] / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
    if image.mode == "RGBA":
        # What Pillow does by itself, but there it forgets the gap.
        return image.convert("RGBa").resize(size, bicubic, reducing_gap=_GAP).convert("RGBA")
    return image.resize(size, bicubic, reducing_gap=_GAP)


def _in_plain_colours(image: Image.Image, profile: object) -> Image.Image:
    """In L, RGB or RGBA, as sRGB: few programs look for a profile in a thumbnail."""
    mode = "RGB" if image.mode == "CMYK" else image.mode
    if isinstance(profile, bytes) and profile:
        try:
            transform = _to_srgb(_undated(profile), image.mode, "RGB" if mode == "L" else mode)
            return ImageCms.applyTransform(image, transform) or image
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a damaged profile, or one of other colours: the picture is as good without
    return image if image.mode == mode else image.convert(mode)


def _undated(profile: bytes) -> bytes:
    """Without the time when it was made, and without its hash (ICC.1:2022, 7.2.8 and 7.2.18).

    Programs that write the same profile into each picture write the time of that.
    """
    return profile[:24] + bytes(12) + profile[36:84] + bytes(16) + profile[100:]


@functools.lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str, to: str) -> ImageCms.ImageCmsTransform:
    """Pictures of a place share a profile, and to make a transform takes 2 ms.

    So do threads, which no two may use whose last pixel is remembered (that is the flag).
    """
    own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(own, srgb, mode, to, flags=ImageCms.Flags.NOCACHE)


def _on_white(image: Image.Image) -> Image.Image:
    """For formats that know no transparency."""
    if image.mode != "RGBA":
        return image
    page = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(page, image).convert("RGB")
