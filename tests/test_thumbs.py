"""`crawl thumbs`: a folder of pictures becomes a folder of thumbnails, and nothing else is lost."""

from __future__ import annotations

import io
import json
import os
import random
import resource
import signal
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

pytest.importorskip("PIL", reason="thumbnails need Pillow")
from PIL import Image

import crawler as package
from command_line import CRAWL, crawl, start_crawl
from conftest import REPOSITORY
from crawler import picture_folder
from crawler.errors import LockedError, OutputError, UsageError
from crawler.picture_folder import Made, _name, thumbnail_folder
from crawler.thumbnail_list import LIST, ThumbnailList
from crawler.thumbnail_rule import ThumbnailRule
from crawler.turns import Turns
from deadline import wait_until

RULE = ThumbnailRule((75, 75))
MODES = ["threads", "processes", "sequential"]


def encoded(size: tuple[int, int] = (150, 100), kind: str = "PNG", colour: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()


def fill(folder: Path, **files: bytes) -> None:
    """Files by their names, with `__` for a dot and `_in_` for a slash."""
    for name, data in files.items():
        path = folder / name.replace("_in_", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def photos(tmp_cwd: Path) -> Path:
    folder = Path("photos")
    fill(
        folder,
        a__png=encoded(),
        b__jpg=encoded(kind="JPEG"),
        c__gif=encoded(kind="GIF"),
        d__txt=b"no picture",
        e__png=encoded()[:60],
        trip_in_a__png=encoded((100, 300)),
        trip_in_day_in_z__jpeg=encoded(kind="JPEG"),
        __hidden__png=encoded(),
    )
    return folder


def made(photos: Path, out: str = "out", rule: ThumbnailRule = RULE, **how: Any) -> list[Made]:
    return list(thumbnail_folder(photos, Path(out), rule, **how))


def files(out: str | Path = "out") -> list[str]:
    found = [path.relative_to(out).as_posix() for path in Path(out).rglob("*") if path.is_file()]
    return sorted(found)


def records(out: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / LIST).read_text().splitlines()]


THUMBNAILS = ["a.png", "b.jpg", "c.gif.png", "trip/a.png", "trip/day/z.jpeg"]


# What is made


@pytest.mark.parametrize("mode", MODES)
def test_each_picture_has_a_thumbnail_and_what_is_none_is_told_in_order(
    photos: Path, mode: str
) -> None:
    results = made(photos, mode=mode, workers=2)
    assert [result.source.relative_to(photos).as_posix() for result in results] == [
        "a.png",
        "b.jpg",
        "c.gif",
        "d.txt",
        "e.png",
        "trip/a.png",
        "trip/day/z.jpeg",
    ]
    written = [result.thumbnail for result in results if result.thumbnail is not None]
    assert [path.relative_to("out").as_posix() for path in written] == THUMBNAILS
    assert results[3].problem == "these bytes are no picture that can be read"
    assert str(results[4].problem).startswith("the picture is damaged: ")
    assert files() == sorted([*THUMBNAILS, LIST])
    with Image.open("out/trip/a.png") as image:
        assert image.size == (25, 75)


def test_the_same_bytes_in_every_mode(photos: Path) -> None:
    for mode in MODES:
        made(photos, mode, mode=mode, workers=3)
    first, *others = (
        {name: Path(mode, name).read_bytes() for name in files(mode)} for mode in MODES
    )
    assert all(other == first for other in others)


def test_threads_take_turns(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(longest=60)
    monkeypatch.setattr(picture_folder, "_turns", turns)
    with ThreadPoolExecutor(1) as pool:
        with turns.turn():
            results = pool.submit(made, photos, workers=4)
            with pytest.raises(TimeoutError):
                results.result(0.2)
        assert results.result()


@pytest.mark.parametrize(
    ("how", "size"), [("fit", (75, 50)), ("crop", (75, 75)), ("exact", (75, 75))]
)
def test_sizes(photos: Path, how: str, size: tuple[int, int]) -> None:
    made(photos, rule=ThumbnailRule((75, 75), how))
    with Image.open("out/a.png") as image:
        assert image.size == size


def test_the_list_says_what_was_made_of_what(photos: Path) -> None:
    made(photos)
    first, *_ = listed = records()
    assert first["source"] == "../photos/a.png"
    assert (first["thumbnail"], first["width"], first["height"]) == ("a.png", 75, 50)
    assert [record.get("kind") for record in listed] == [
        *[None] * 3, "no-image", "no-image", None, None
    ]  # fmt: skip


def test_the_content_tells_what_a_file_is_and_its_thumbnail_is_named_after_that(
    tmp_cwd: Path,
) -> None:
    fill(
        Path("in"),
        wrong__png=encoded(kind="JPEG"),
        wrong__png__jpg=encoded(kind="JPEG"),
        none=encoded(kind="JPEG"),
        none__jpg=encoded(kind="JPEG"),
        none__PNG=encoded(),
        page__jpg=b"<html></html>",
    )
    results = made(Path("in"))
    assert {str(r.source.name): r.thumbnail and r.thumbnail.name for r in results} == {
        "wrong.png": "wrong.png.jpg.jpg",
        "wrong.png.jpg": "wrong.png.jpg",
        "none": "none.jpg.jpg",
        "none.jpg": "none.jpg",
        "none.PNG": "none.PNG",
        "page.jpg": None,
    }


parts = st.sampled_from(["a", "A", ".jpg", ".JPG", ".jpeg", ".png", ".webp", ".gif"])
names = st.lists(parts, min_size=1, max_size=5).map("".join).map("x".__add__)


@given(st.dictionaries(names, st.sampled_from(["jpeg", "png", "webp"]), max_size=12))
def test_no_two_files_of_a_folder_have_one_name_for_their_thumbnails(kinds: dict[str, str]) -> None:
    """Also where capital and small letters are the same, if the files' own names differ there."""
    own = {name.casefold(): name for name in kinds}
    thumbnails = [_name(name, kinds[name], set(own)) for name in own.values()]
    assert len({name.casefold() for name in thumbnails}) == len(own)
    for name in own.values():
        assert _name(name, kinds[name], set(own)).startswith(name)


def test_a_bomb_is_a_failure(tmp_cwd: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    fill(Path("in"), bomb__png=bomb)
    (result,) = made(Path("in"))
    assert result.problem is not None
    assert "2500000000 pixels" in result.problem
    assert records()[0]["kind"] == "too-large"


def test_what_is_no_file_is_told_and_links_to_folders_are_left_out(tmp_cwd: Path) -> None:
    fill(Path("in"), a__png=encoded())
    os.mkfifo("in/pipe.png")
    Path("in/gone.png").symlink_to("nowhere")
    Path("in/link.png").symlink_to("a.png")
    Path("in/loop").symlink_to(".")
    Path("in/ring.png").symlink_to("ring.png")
    results = made(Path("in"))
    assert [(result.source.name, result.problem) for result in results] == [
        ("a.png", None),
        ("gone.png", "it can't be read: No such file or directory"),
        ("link.png", None),
        ("pipe.png", "this is no file"),
        ("ring.png", "it can't be read: Too many levels of symbolic links"),
    ]


def test_names_that_are_no_text(tmp_cwd: Path) -> None:
    Path("in").mkdir()
    odd = os.fsdecode(b"in/\xff\n.png")
    try:
        Path(odd).write_bytes(encoded())
    except OSError:
        pytest.skip("this file system takes no such name")
    assert [result.problem for result in made(Path("in"))] == [None]
    assert [result.problem for result in made(Path("in"))] == [None]


def test_a_name_that_becomes_too_long_is_told(tmp_cwd: Path) -> None:
    Path("in").mkdir()
    Path("in", "x" * 253).write_bytes(encoded())
    (result,) = made(Path("in"))
    assert "would be too long" in str(result.problem)


def test_the_thumbnails_may_lie_among_the_pictures(photos: Path) -> None:
    first, second = (made(photos, "photos/small") for _ in range(2))
    assert first == second
    assert files("photos/small") == sorted([*THUMBNAILS, LIST])


# What is there already


def test_thumbnails_of_the_same_pictures_are_replaced_and_equal_ones_left_alone(
    photos: Path,
) -> None:
    made(photos)
    before = Path("out/a.png").stat()
    made(photos)
    after = Path("out/a.png").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    results = made(photos, rule=ThumbnailRule((10, 10)))
    assert [result.thumbnail is not None for result in results].count(True) == len(THUMBNAILS)
    with Image.open("out/a.png") as image:
        assert image.size == (10, 7)


def test_what_is_no_thumbnail_of_the_picture_is_left_as_it_is(photos: Path) -> None:
    fill(Path("out"), a__png=b"precious", b__jpg=encoded(kind="JPEG", colour="blue"))
    Path("elsewhere").write_bytes(b"precious too")
    Path("out/c.gif.png").symlink_to("../elsewhere")
    Path("out/trip").write_bytes(b"no folder")
    results = made(photos)
    assert [result.thumbnail for result in results] == [None] * 7
    assert results[0].problem == "out/a.png exists, and is no thumbnail of it: move it away"
    assert results[5].problem == "out/trip is in the way of its thumbnail: move it away"
    assert Path("out/a.png").read_bytes() == b"precious"
    assert Path("out/b.jpg").read_bytes() == encoded(kind="JPEG", colour="blue")
    assert Path("elsewhere").read_bytes() == b"precious too"
    assert Path("out/trip").read_bytes() == b"no folder"


def test_a_thumbnail_that_somebody_edited_is_theirs(photos: Path) -> None:
    made(photos)
    Path("out/a.png").write_bytes(b"edited")
    result, *_ = made(photos, rule=ThumbnailRule((10, 10)))
    assert "is no thumbnail of it" in str(result.problem)
    assert Path("out/a.png").read_bytes() == b"edited"


@pytest.mark.parametrize("left", [0, 1, 100])
def test_what_a_power_cut_left_of_a_thumbnail_is_made_whole(photos: Path, left: int) -> None:
    """Nobody waits for the disk, so its name may be there before all of its bytes, and no list."""
    made(photos)
    whole = Path("out/a.png").read_bytes()
    Path("out/a.png").write_bytes(whole[:left])
    Path("out", LIST).unlink()
    assert [result.thumbnail for result in made(photos)].count(None) == 2
    assert Path("out/a.png").read_bytes() == whole


def test_thumbnails_of_another_folder_are_not_overwritten(photos: Path) -> None:
    made(photos)
    fill(Path("others"), a__png=encoded(colour="blue"), new__png=encoded())
    results = made(Path("others"))
    assert [result.problem is None for result in results] == [False, True]
    assert "new.png" in files()
    # And the first folder's are still known.
    again = made(photos, rule=ThumbnailRule((10, 10)))
    assert [result.thumbnail is not None for result in again].count(True) == len(THUMBNAILS)


def test_a_run_that_came_to_no_end_is_known_to_the_next(photos: Path) -> None:
    results = thumbnail_folder(photos, Path("out"), RULE)
    assert next(results).thumbnail == Path("out/a.png")
    results.close()  # type: ignore[attr-defined]
    assert LIST not in files()
    with Path("out", f".{LIST}.part").open("ab") as part:
        part.write(b'{"source": "../photos/b.jpg", "thumb')  # it was killed
    fill(Path("out/.thumbnails.new"), _7=b"not in its place yet")
    again = made(photos, rule=ThumbnailRule((10, 10)))
    assert [result.thumbnail is not None for result in again].count(True) == len(THUMBNAILS)
    assert len(records()) == 7
    assert files() == sorted([*THUMBNAILS, LIST])


def test_two_at_once_do_not_write_to_one_folder(photos: Path) -> None:
    Path("out").mkdir()
    with ThumbnailList(Path("out")), pytest.raises(LockedError, match="writes to out"):
        made(photos)
    assert made(photos)


@pytest.mark.parametrize("name", [LIST, LIST.upper()])
def test_pictures_in_a_folder_of_the_name_of_the_list_are_told(tmp_cwd: Path, name: str) -> None:
    for path in (f"{name}/a.png", f"x/{name}/b.png", "z.png"):
        fill(Path("photos", path).parent, **{Path(path).name: encoded()})
    for _ in range(2):
        problems = [result.problem for result in made(Path("photos"))]
        in_the_way = f"a folder {LIST} would be in the way of the list: rename it"
        assert problems == [None, in_the_way, None]
        assert files() == [LIST, f"x/{name}/b.png", "z.png"]
        assert [record.get("kind") for record in records()] == [None, "exists", None]


def test_a_folder_in_the_place_of_the_list_is_told(photos: Path) -> None:
    Path("out", LIST).mkdir(parents=True)
    with pytest.raises(UsageError, match="is a folder, and no list: move it away"):
        made(photos)
    assert list(Path("out").iterdir()) == [Path("out", LIST)]


def test_a_list_of_another_program_is_left_alone(photos: Path) -> None:
    fill(Path("out"), thumbnails__jsonl=b"my own list\n")
    with pytest.raises(UsageError, match="no list of thumbnails: move it away"):
        made(photos)
    assert files() == [LIST]
    assert Path("out", LIST).read_bytes() == b"my own list\n"


def test_what_can_not_be_done_is_said(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="there is no folder nowhere"):
        made(Path("nowhere"))
    with pytest.raises(UsageError, match="is the folder of the pictures"):
        made(photos, "photos/../photos")
    with pytest.raises(OutputError, match=r"can't write photos/a\.png"):
        made(photos, "photos/a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "crawler.thumbnails", raising=False)
    monkeypatch.delattr(package, "thumbnails", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'crawl-in-order\[images\]'"):
        made(photos)


# The command


def test_the_command_reports_and_exits(photos: Path) -> None:
    done = crawl("thumbs", "photos", "out", "--size", "75x75", "--mode", "threads", "-j", "8")
    assert (done.returncode, done.stdout) == (3, "")
    first, second, counts, where = done.stderr.splitlines()
    assert first == "photos/d.txt: these bytes are no picture that can be read"
    assert second.startswith("photos/e.png: the picture is damaged: ")
    assert counts.startswith("5 thumbnails, 2 files gave none in ")
    assert where == f"-> out (list: out/{LIST})"
    assert crawl("thumbs", "photos", "out", "--max-failed", "2", "-q").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere", "out"], 2, "there is no folder nowhere"),
        (["photos", "photos"], 2, "is the folder of the pictures"),
        (["photos", "out", "--size", "big"], 2, "'big' is no size"),
        (["photos", "out", "--size", "0x5"], 2, "1 to 16,384 pixels"),
        (["photos", "photos/a.png"], 8, "can't write photos/a.png"),
    ],
)
def test_the_commands_errors(photos: Path, arguments: list[str], code: int, message: str) -> None:
    done = crawl("thumbs", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_thumbnail_for_which_there_is_no_room_is_none(tmp_cwd: Path) -> None:
    """The system writes what fits; only when asked for the rest it says that there is no room."""
    Path("photos").mkdir()
    pixels = random.Random(1).randbytes(75 * 75 * 3)  # no PNG of them is small
    Image.frombytes("RGB", (75, 75), pixels).save("photos/a.png")
    done = subprocess.run(
        [*CRAWL, "thumbs", "photos", "out"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # Python 3.11 would leave a half of a module's bytecode behind.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, 8_192)),
    )
    assert done.returncode == 8, done.stderr
    assert "File too large" in done.stderr
    assert "a.png" not in files()


def test_many_bad_files_are_told_in_few_lines(tmp_cwd: Path) -> None:
    fill(Path("in"), **{f"f{number}": b"text" for number in range(30)})
    done = crawl("thumbs", "in", "out")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 13
    assert f"others that give none are listed in out/{LIST} only" in done.stderr


@pytest.mark.parametrize("mode", ["threads", "processes"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_the_same_command_again_makes_the_rest(
    tmp_cwd: Path, mode: str, number: signal.Signals
) -> None:
    picture = encoded((1500, 1500))
    fill(Path("in"), **{f"f{number:03}__png": picture for number in range(60)})
    process = start_crawl("thumbs", "in", "out", "--mode", mode, "-j", "1")
    wait_until(lambda: process.poll() is not None or Path("out/f003.png").exists())
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number, said
    assert "interrupted; " in said
    assert "Traceback" not in said
    assert not Path("out/.thumbnails.new").exists()
    whole = Path("out/f000.png").read_bytes()
    assert all(Path("out", name).read_bytes() == whole for name in files() if name.startswith("f"))
    assert crawl("thumbs", "in", "out", "--mode", mode, "-q").returncode == 0
    assert len(records()) == 60


def test_the_application_of_the_article(photos: Path) -> None:
    program = [sys.executable, str(REPOSITORY / "spiders" / "thumbnails.py"), "photos", "out"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stdout.startswith("3 thumbnails: ")
    assert "photos/d.txt: " in done.stderr
    assert files() == [".hidden.png", "a.png", "b.jpg"]
    with Image.open("out/b.jpg") as image:
        assert image.size == (75, 75)
