"""Pictures of every kind become thumbnails; what is no picture becomes an error that says so."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import ImageError
from crawler.thumbnail_rule import FORMATS, HOWS, ThumbnailRule, parse_size

pytest.importorskip("PIL", reason="the extra `images` is not installed")

from PIL import Image, ImageCms, PngImagePlugin

from crawler.thumbnails import _READ, _readable, _to_srgb, make_thumbnail, measure, write_thumbnail

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
ICON = ThumbnailRule((75, 75))


def encoded(image: Image.Image, format_name: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def halves(size: tuple[int, int] = (300, 200)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def is_near(pixel: object, wanted: tuple[int, ...], by: int = 12) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(one - other) <= by for one, other in zip(pixel, wanted, strict=True))


# ---- Sizes ----


@pytest.mark.parametrize(
    ("picture", "how", "thumbnail"),
    [
        ((300, 200), "fit", (75, 50)),
        ((200, 300), "fit", (50, 75)),
        ((40, 30), "fit", (40, 30)),  # never enlarged
        ((5_000, 1), "fit", (75, 1)),  # never without a pixel
        ((300, 200), "crop", (75, 75)),
        ((40, 30), "crop", (75, 75)),
        ((300, 200), "exact", (75, 75)),
        ((40, 30), "exact", (75, 75)),
    ],
)
def test_the_three_ways_to_get_a_size(
    picture: tuple[int, int], how: str, thumbnail: tuple[int, int]
) -> None:
    made = make_thumbnail(encoded(halves(picture)), ThumbnailRule((75, 75), how))
    assert (made.width, made.height) == thumbnail
    assert opened(made.data).size == thumbnail


def test_exact_shows_all_of_the_picture_and_crop_its_middle() -> None:
    image = Image.new("RGB", (300, 100), WHITE)
    image.paste(RED, (0, 0, 100, 100))
    image.paste(BLUE, (200, 0, 300, 100))
    exact = opened(make_thumbnail(encoded(image), ThumbnailRule((90, 90), "exact")).data)
    assert exact.getpixel((5, 45)) == RED
    assert exact.getpixel((84, 45)) == BLUE
    crop = opened(make_thumbnail(encoded(image), ThumbnailRule((90, 90), "crop")).data)
    assert crop.getpixel((5, 45)) == crop.getpixel((84, 45)) == WHITE


@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.tuples(st.integers(1, 100), st.integers(1, 100)),
)
def test_what_fits_is_within_the_size_and_touches_it(
    picture: tuple[int, int], size: tuple[int, int]
) -> None:
    made = make_thumbnail(encoded(Image.new("L", picture)), ThumbnailRule(size))
    assert made.width <= size[0]
    assert made.height <= size[1]
    assert made.width == size[0] or made.height == size[1] or (made.width, made.height) == picture


# ---- Kinds of pictures ----


@pytest.mark.parametrize(
    ("kind", "thumbnail"),
    [
        ("JPEG", "jpeg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("GIF", "png"),
        ("BMP", "png"),
        ("TIFF", "png"),
        ("AVIF", "png"),
        ("ICO", "png"),
        ("JPEG2000", "png"),
    ],
)
def test_a_thumbnail_keeps_the_format_if_it_can(kind: str, thumbnail: str) -> None:
    image = halves((256, 256))
    made = make_thumbnail(encoded(image, kind), ICON)
    assert made.format == thumbnail
    shown = opened(made.data)
    assert shown.format is not None
    assert shown.format.lower() == thumbnail
    assert is_near(shown.convert("RGB").getpixel((10, 37)), RED, 25)
    assert is_near(shown.convert("RGB").getpixel((65, 37)), BLUE, 25)


@pytest.mark.parametrize(
    ("format_name", "suffix", "head"),
    [("jpeg", ".jpg", b"\xff\xd8"), ("png", ".png", b"\x89PNG"), ("webp", ".webp", b"RIFF")],
)
def test_a_format_may_be_asked_for(format_name: str, suffix: str, head: bytes) -> None:
    made = make_thumbnail(encoded(halves()), ThumbnailRule((75, 75), format=format_name))
    assert (made.format, made.suffix) == (format_name, suffix)
    assert made.data.startswith(head)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "I;16", "I", "F", "LAB"])
@pytest.mark.parametrize("format_name", FORMATS)
def test_every_mode_of_pixels_can_be_made_small(mode: str, format_name: str) -> None:
    values = Image.linear_gradient("L").resize((300, 200))
    if mode == "I;16":
        image = values.convert("I").point(lambda value: value * 257).convert("I;16")
    elif mode == "LAB":
        image = Image.merge("LAB", [values, *[Image.new("L", values.size, 128)] * 2])
    else:
        image = values.convert("RGB").convert(mode)
    made = opened(
        make_thumbnail(encoded(image, "TIFF"), ThumbnailRule((75, 75), format=format_name)).data
    )
    dark, light = (made.convert("L").getpixel((37, y)) for y in (1, 48))
    assert isinstance(dark, int)
    assert isinstance(light, int)
    assert dark < 30, "black stays black"
    assert light > 225, "and white white"


def test_16_bits_of_grey_are_not_cut_to_white() -> None:
    grey = Image.new("I;16", (100, 100), 128 * 257)
    assert opened(make_thumbnail(encoded(grey), ICON).data).getpixel((5, 5)) == 128


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("P", "GIF")])
def test_transparency_stays_and_is_white_where_the_format_has_none(mode: str, kind: str) -> None:
    image = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 200, 100))
    source = encoded(image if mode == "P" else image.convert(mode), kind)
    png = opened(make_thumbnail(source, ThumbnailRule((75, 75), format="png")).data)
    assert png.mode == "RGBA"
    assert png.getpixel((37, 10)) == (0, 0, 0, 255)
    pixel = png.getpixel((37, 65))
    assert isinstance(pixel, tuple)
    assert pixel[3] == 0
    jpeg = opened(make_thumbnail(source, ThumbnailRule((75, 75), format="jpeg")).data)
    assert is_near(jpeg.convert("RGB").getpixel((37, 65)), WHITE)


def test_the_edge_of_what_is_transparent_takes_no_colour_from_there() -> None:
    image = Image.new("RGBA", (200, 200), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 101, 200))
    made = opened(make_thumbnail(encoded(image), ThumbnailRule((7, 7), "exact")).data)
    pixels = [made.getpixel((x, 3)) for x in range(7)]
    assert all(pixel[:3] == BLUE for pixel in pixels if isinstance(pixel, tuple) and pixel[3] > 20)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (100, 100), color) for color in (RED, BLUE, WHITE)]
    animation = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    made = opened(make_thumbnail(animation, ICON).data)
    assert getattr(made, "n_frames", 1) == 1
    assert is_near(made.convert("RGB").getpixel((37, 37)), RED, 25)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("profile", [SRGB, b"no profile"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_embedded_profile_is_applied_and_left_out(kind: str, profile: bytes) -> None:
    made = make_thumbnail(encoded(halves(), kind, icc_profile=profile), ICON)
    assert "icc_profile" not in opened(made.data).info
    assert is_near(opened(made.data).convert("RGB").getpixel((10, 25)), RED)


def test_threads_may_share_a_profile() -> None:
    pictures = [
        encoded(Image.linear_gradient("L").convert("RGB").rotate(angle), icc_profile=SRGB)
        for angle in range(8)
    ]
    alone = [make_thumbnail(picture, ICON).data for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda picture: make_thumbnail(picture, ICON).data, pictures * 25)
        assert list(together) == alone * 25


def test_profiles_that_differ_in_their_time_and_hash_only_are_one() -> None:
    _to_srgb.cache_clear()
    other = bytearray(SRGB)
    other[24:36] = struct.pack(">6H", 1999, 12, 31, 23, 59, 59)
    other[84:100] = b"0123456789abcdef"
    one, two = (
        make_thumbnail(encoded(halves(), icc_profile=bytes(profile)), ICON).data
        for profile in (SRGB, other)
    )
    assert one == two
    assert _to_srgb.cache_info().misses == 1


def test_a_damaged_profile_costs_nothing() -> None:
    made = make_thumbnail(encoded(halves(), icc_profile=b"no profile"), ICON)
    assert opened(made.data).getpixel((10, 25)) == RED


def test_all_is_read_that_pillow_can() -> None:
    """As it was built here: only those plugins are loaded by hand."""
    readable = set(_readable())
    Image.init()
    assert readable == set(_READ) & set(Image.OPEN)
    assert {"JPEG", "PNG", "GIF", "BMP", "TIFF", "ICO"} <= readable


# ---- EXIF ----


def exif(orientation: object) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010F] = "a camera"
    return data


@pytest.mark.parametrize(
    ("orientation", "red_is_at", "size"),
    [
        (1, "left", (75, 50)),
        (2, "right", (75, 50)),
        (3, "right", (75, 50)),
        (4, "left", (75, 50)),
        (5, "top", (50, 75)),
        (6, "top", (50, 75)),
        (7, "bottom", (50, 75)),
        (8, "bottom", (50, 75)),
        (77, "left", (75, 50)),
    ],
)
def test_a_picture_is_turned_as_its_exif_says(
    orientation: int, red_is_at: str, size: tuple[int, int]
) -> None:
    picture = encoded(halves(), "JPEG", exif=exif(orientation))
    made = opened(make_thumbnail(picture, ICON).data)
    assert made.size == size
    middle = size[0] // 2, size[1] // 2
    places = {
        "left": (3, middle[1]),
        "right": (size[0] - 4, middle[1]),
        "top": (middle[0], 3),
        "bottom": (middle[0], size[1] - 4),
    }
    assert is_near(made.getpixel(places[red_is_at]), RED)
    shown = measure(picture)
    assert (shown.width > shown.height) == (size[0] > size[1])


def test_nothing_of_the_exif_is_in_the_thumbnail() -> None:
    made = make_thumbnail(encoded(halves(), "JPEG", exif=exif(6)), ICON)
    assert not opened(made.data).getexif()
    assert b"a camera" not in made.data


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # as when it runs by itself
def test_a_damaged_exif_costs_nothing() -> None:
    picture = encoded(halves(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert is_near(opened(make_thumbnail(picture, ICON).data).getpixel((3, 25)), RED)


# ---- What is refused ----


def png_head(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    pixels = zlib.compress(bytes(1_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [9_000, 12_000, 20_000, 2**31 - 1])
def test_a_bomb_is_refused_before_it_is_unpacked(side: int) -> None:
    with pytest.raises(ImageError, match="pixels") as caught:
        make_thumbnail(png_head(side, side), ICON)
    assert caught.value.kind == "too-large"


def icon(picture: bytes) -> bytes:
    """An icon that says its picture has 16 x 16 pixels."""
    entry = struct.pack("<4B2H2I", 16, 16, 0, 0, 1, 32, len(picture), 22)
    return struct.pack("<3H", 0, 1, 1) + entry + picture


@pytest.mark.parametrize("side", [9_000, 13_300, 65_535])
@pytest.mark.parametrize("kind", ["png", "bmp"])
def test_a_bomb_in_an_icon_is_refused_before_it_is_unpacked(side: int, kind: str) -> None:
    head = struct.pack("<IiiHHIIiiII", 40, side, side * 2, 1, 32, 0, 0, 0, 0, 0, 0)
    bomb = icon(png_head(side, side) if kind == "png" else head)
    for ask in (measure, lambda data: make_thumbnail(data, ICON)):
        with pytest.raises(ImageError, match=f"has {side * side:,} pixels, at most") as caught:
            ask(bomb)
        assert caught.value.kind == "too-large"


@pytest.mark.parametrize("kind", ["png", "bmp"])
def test_an_icon_of_the_greatest_size_is_read(kind: str) -> None:
    data = encoded(
        Image.new("RGBA", (64, 48), (9, 200, 9, 255)), "ICO", bitmap_format=kind, sizes=[(64, 48)]
    )
    assert measure(data, max_pixels=64 * 48).width == 64
    with pytest.raises(ImageError, match="has 3,072 pixels, at most 3,071 "):
        measure(data, max_pixels=64 * 48 - 1)


def test_the_limit_of_bombs_can_be_set() -> None:
    picture = encoded(halves((100, 100)))
    assert make_thumbnail(picture, ICON, max_pixels=10_000).width == 75
    with pytest.raises(ImageError, match="10,000 pixels, at most 9,999"):
        make_thumbnail(picture, ICON, max_pixels=9_999)


def test_a_text_chunk_that_unpacks_to_much_is_refused() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("bomb", "0" * 80_000_000, zip=True)
    with pytest.raises(ImageError) as caught:
        make_thumbnail(encoded(halves((100, 100)), pnginfo=text), ICON)
    assert caught.value.kind == "no-image"


def test_a_picture_may_be_too_small() -> None:
    picture = encoded(halves((100, 60)))
    assert make_thumbnail(picture, ICON, min_size=(100, 60)).width == 75
    for least in [(101, 60), (100, 61)]:
        with pytest.raises(ImageError, match="the picture has 100x60 pixels") as caught:
            make_thumbnail(picture, ICON, min_size=least)
        assert caught.value.kind == "too-small"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!doctype html><title>Not found</title>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) run\n",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"GIF89a",
    ],
)
def test_what_is_no_picture_is_an_error(data: bytes) -> None:
    with pytest.raises(ImageError, match="these bytes are no picture that can be read") as caught:
        make_thumbnail(data, ICON)
    assert caught.value.kind == "no-image"
    with pytest.raises(ImageError):
        measure(data)


@pytest.mark.parametrize("data", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"text" * 99])
def test_what_is_no_picture_at_all_is_not_called_damaged(data: bytes) -> None:
    with pytest.raises(ImageError, match="no picture that can be read"):
        make_thumbnail(data, ICON)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_picture_that_is_cut_off_is_an_error(kind: str) -> None:
    whole = encoded(Image.effect_noise((200, 200), 90).convert("RGB"), kind)
    with pytest.raises(ImageError) as caught:
        make_thumbnail(whole[: len(whole) // 2], ICON)
    assert caught.value.kind == "no-image"


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it could mend
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF"]), st.data())
def test_damaged_bytes_give_a_thumbnail_or_our_error(kind: str, data: st.DataObject) -> None:
    picture = bytearray(encoded(halves((40, 30)), kind))
    for _ in range(5):
        place = data.draw(st.integers(0, len(picture) - 1))
        picture[place] = data.draw(st.integers(0, 255))
    try:
        make_thumbnail(bytes(picture), ICON, max_pixels=100_000)
    except ImageError as error:
        assert error.kind in ("no-image", "too-large")  # noqa: PT017


def test_pillow_prints_nothing_of_damaged_pictures() -> None:
    code = (
        "import sys; from crawler.thumbnails import *; from crawler.thumbnail_rule import *;"
        "make_thumbnail(sys.stdin.buffer.read(), ThumbnailRule((75, 75)))"
    )
    picture = encoded(halves(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    done = subprocess.run([sys.executable, "-c", code], input=picture, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_error_survives_the_way_from_a_worker() -> None:
    error = pickle.loads(pickle.dumps(ImageError("too-large", "the picture is")))
    assert (error.kind, str(error)) == ("too-large", "the picture is")


# ---- Files ----


def test_kind_and_size_are_taken_from_the_bytes_not_the_name(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(encoded(halves(), "JPEG"))
    picture = measure(file)
    assert (picture.width, picture.height, picture.content_type) == (300, 200, "image/jpeg")
    assert make_thumbnail(file, ICON) == make_thumbnail(file.read_bytes(), ICON)


@pytest.mark.parametrize(
    ("name", "head"), [("a.JPG", b"\xff\xd8"), ("a.jpeg", b"\xff\xd8"), ("a.webp", b"RIFF")]
)
def test_a_thumbnail_in_a_file_has_the_format_of_its_name(
    tmp_path: Path, name: str, head: bytes
) -> None:
    made = write_thumbnail(encoded(halves()), tmp_path / name, ICON)
    assert (tmp_path / name).read_bytes() == made.data
    assert made.data.startswith(head)


def test_a_thumbnail_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"old")
    with pytest.raises(ImageError):
        write_thumbnail(b"no picture", tmp_path / "a.jpg", ICON)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
    assert (tmp_path / "a.jpg").read_bytes() == b"old"


def test_a_name_without_a_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"files that end in \.jpg"):
        write_thumbnail(encoded(halves()), tmp_path / "a.gif", ICON)


def test_a_file_that_is_missing_is_no_matter_of_pictures(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        measure(tmp_path / "a.jpg")


# ---- Rules ----


@pytest.mark.parametrize("value", ["75x50", " 75 X 50 ", "75×50", (75, 50), [75, 50]])
def test_a_size_is_text_or_a_pair(value: object) -> None:
    assert parse_size(value) == (75, 50)


@pytest.mark.parametrize(
    "value",
    ["75", "0x75", "75x-1", "axb", "99999x1", "", 75, (75,), (75, 0), (75, True), ("7", 5), None],
)
def test_a_bad_size_is_an_error_that_says_so(value: object) -> None:
    with pytest.raises(ValueError, match=r"75x75|75, 75|a side has 1 to 16,384 pixels"):
        parse_size(value)


@pytest.mark.parametrize("changes", [{"how": "nice"}, {"format": "gif"}, {"size": (0, 1)}])
def test_a_rule_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ThumbnailRule(**{"size": (75, 75), **changes})


@pytest.mark.parametrize("how", HOWS)
def test_the_same_picture_and_rule_give_the_same_bytes(how: str) -> None:
    picture = encoded(halves(), "JPEG", exif=exif(6))
    rule = ThumbnailRule((75, 75), how)
    assert make_thumbnail(picture, rule) == make_thumbnail(picture, rule)
