"""From what a user names to the spider, and by the same reference on every worker."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crawler import Response, spider
from crawler.errors import SpiderImportError, SpiderNotFoundError
from crawler.loader import list_spiders, load_function, load_spider
from crawler.spider import Spider

MARKED = """
    from crawler import spider

    @spider("https://x/")
    def {name}(response):
        return {{"from": "{name}"}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_cwd: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in list(sys.modules):
        if name.partition(".")[0] == "spiders":  # those of this repository
            monkeypatch.delitem(sys.modules, name)
    before = set(sys.modules)
    yield tmp_cwd
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        if str(tmp_cwd) in str(
            getattr(module, "__file__", None) or getattr(module, "__path__", "")
        ):
            del sys.modules[name]


def write(path: str, text: str = "", **names: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text).format(**names) if names else textwrap.dedent(text))
    return file.resolve()


def result_of(found: Spider) -> Any:
    return found.function(Response("https://x/"))


def error_of(target: str, kind: type[Exception] = SpiderNotFoundError) -> str:
    with pytest.raises(kind) as caught:
        load_spider(target)
    return str(caught.value)


# ---- NAME ----


def test_a_name_is_a_file_in_spiders(folder: Path) -> None:
    file = write("spiders/posts.py", MARKED, name="posts")
    found = load_spider("posts")
    assert (found.name, found.reference, found.file) == ("posts", f"{file}:posts", file)
    assert found.options.url == "https://x/"
    assert result_of(found) == {"from": "posts"}


def test_the_folder_may_be_another() -> None:
    write("mine/posts.py", MARKED, name="posts")
    assert load_spider("posts", Path("mine")).name == "posts"


def test_a_file_with_one_marked_function_may_call_it_anything() -> None:
    file = write("spiders/posts.py", MARKED, name="parse")
    found = load_spider("posts")
    assert (found.name, found.reference) == ("posts", f"{file}:parse")


def test_a_bare_function_of_the_files_name_is_a_spider() -> None:
    write("spiders/posts.py", "def posts(url): return {'url': url}\ndef other(): ...")
    assert load_spider("posts").function("u") == {"url": "u"}


def test_a_spider_may_name_itself() -> None:
    write("spiders/posts.py", MARKED.replace('"https://x/"', 'name="Posts 2"'), name="posts")
    assert load_spider("posts").name == "Posts 2"


def test_marked_functions_that_are_imported_from_elsewhere_do_not_count() -> None:
    write("spiders/__init__.py")
    write("spiders/first.py", MARKED, name="first")
    write("spiders/second.py", "from .first import first\n" + textwrap.dedent(MARKED), name="parse")
    assert result_of(load_spider("second")) == {"from": "parse"}


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "there is no spider 'posst': there is no folder {here}/spiders. Run from the folder"),
        ({"__init__": ""}, "looked for posst.py in {here}/spiders; it holds no spiders"),
        ({"quotes": "quotes"}, "looked for posst.py in {here}/spiders; there: quotes"),
        (
            {"posts": "posts", "post": "post", "quotes": "quotes"},
            "looked for posst.py in {here}/spiders; did you mean post or posts?",
        ),
    ],
    ids=["no folder", "no spiders", "another one", "near names"],
)
def test_a_name_that_is_not_there(folder: Path, files: dict[str, str], complaint: str) -> None:
    for file, name in files.items():
        write(f"spiders/{file}.py", MARKED if name else "", name=name)
    assert complaint.format(here=folder) in error_of("posst")


@pytest.mark.parametrize("name", ["", "two words", "*", "spider\0"])
def test_a_name_that_can_not_be_one(name: str) -> None:
    Path("spiders").mkdir()
    assert f"there is no spider {name!r}" in error_of(name)


# ---- file.py and file.py:function ----

SEVERAL = """
    from crawler import spider

    @spider("https://x/")
    def first(response): return 1

    @spider("https://x/")
    def second(response): return 2

    def helper(url): return 3

    CONSTANT = 5

    class Group:
        @staticmethod
        def inner(url): return 4
"""


@pytest.mark.parametrize("absolute", [False, True])
def test_a_file_is_found_from_anywhere(absolute: bool) -> None:
    file = write("elsewhere/posts.py", MARKED, name="posts")
    found = load_spider(str(file) if absolute else "elsewhere/posts.py")
    assert (found.name, found.reference, found.file) == ("posts", f"{file}:posts", file)


@pytest.mark.parametrize(
    ("function", "result"), [("first", 1), ("second", 2), ("helper", 3), ("Group.inner", 4)]
)
def test_a_function_of_a_file(function: str, result: int) -> None:
    file = write("many.py", SEVERAL)
    found = load_spider(f"many.py:{function}")
    assert (found.name, found.reference) == (function, f"{file}:{function}")
    assert result_of(found) == result


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("many.py", "many.py holds several spiders; say which: {here}/many.py:first or"),
        ("many.py:frist", "has no function frist; did you mean first?"),
        ("many.py:zzz", "has no function zzz; it has first, helper, second"),
        ("many.py:CONSTANT", "many.py:CONSTANT is an int, not a function; a spider is a function"),
        ("many.py:Group.outer", "has no function Group.outer"),
        ("none.py", "none.py holds no function marked with @spider and none called none; name a"),
        ("none.py:zzz", "has no function zzz; it has no functions at all"),
        ("nowhere.py", "there is no file nowhere.py"),
        ("spiders/posts", "there is no file spiders/posts"),
        (".", "'.' names no module; write package.module:function, or path/to/file.py"),
        ("a..b:c", "'a..b' names no module"),
        (":posts", "'' names no module"),
    ],
)
def test_what_a_file_does_not_hold(folder: Path, target: str, complaint: str) -> None:
    write("many.py", SEVERAL)
    write("none.py", "from crawler import spider\n")
    assert complaint.format(here=folder) in error_of(target)


def test_a_lone_file_does_not_hide_a_module_of_its_name() -> None:
    write("json.py", MARKED, name="posts")
    assert load_spider("json.py").name == "posts"
    import json

    assert json.loads("1") == 1


def test_a_file_imports_what_lies_beside_it() -> None:
    write("elsewhere/beside_it.py", "LIMIT = 7")
    write("elsewhere/posts.py", "import beside_it\ndef posts(url): return beside_it.LIMIT")
    assert load_spider("elsewhere/posts.py").function("u") == 7


IMPORTS = {
    "from my_spiders.near_it import LIMIT": (True, True),
    "from near_it import LIMIT": (True, False),
    "from .near_it import LIMIT": (False, True),
    "from my_helpers import LIMIT": (True, True),
}
"""Whether a spider may, in a folder without `__init__.py`, and with one."""


@pytest.mark.parametrize("text", IMPORTS)
@pytest.mark.parametrize("is_package", [False, True])
def test_what_a_file_in_a_folder_of_spiders_may_import(text: str, is_package: bool) -> None:
    write("my_helpers.py", "LIMIT = 9")
    write("my_spiders/near_it.py", "LIMIT = 9")
    write("my_spiders/posts.py", f"{text}\ndef posts(url): return LIMIT")
    if is_package:
        write("my_spiders/__init__.py")
    sys.path[:] = [each for each in sys.path if each not in ("", str(Path.cwd()))]
    before = list(sys.path)
    if IMPORTS[text][is_package]:
        assert load_spider("my_spiders/posts.py").function("u") == 9
    else:
        assert "Error: " in error_of("my_spiders/posts.py", SpiderImportError)
    assert sys.path[1 if is_package else 0 :][: len(before)] == before, "nothing is hidden"


def test_a_file_can_be_loaded_where_the_working_directory_is_gone(folder: Path) -> None:
    file = write("elsewhere/posts.py", "def posts(url): return 3")
    (folder / "gone").mkdir()
    os.chdir(folder / "gone")
    (folder / "gone").rmdir()
    assert load_spider(str(file)).function("u") == 3


def test_a_file_of_a_package_imports_from_it() -> None:
    write("my_spiders/__init__.py")
    write("my_spiders/inner/__init__.py")
    write("my_spiders/parts.py", "LIMIT = 8")
    write("my_spiders/inner/posts.py", "from ..parts import LIMIT\ndef posts(url): return LIMIT")
    found = load_spider("my_spiders/inner/posts.py")
    assert found.function("u") == 8
    assert found.function.__module__ == "my_spiders.inner.posts"


def test_dataclasses_in_a_file_work() -> None:
    write(
        "posts.py",
        """
        from __future__ import annotations
        from dataclasses import dataclass, asdict

        @dataclass
        class Post:
            title: str | None

        def posts(url): return asdict(Post(url))
        """,
    )
    assert load_spider("posts.py").function("u") == {"title": "u"}


# ---- A file that changes ----


def change(file: Path, result: int) -> None:
    """Another content, and a time of change that any file system can tell from the one before."""
    before = file.stat().st_mtime if file.exists() else 1e9
    file.write_text(f"def posts(url): return {result}")
    os.utime(file, (before + 2, before + 2))


def test_a_file_is_imported_once_until_it_changes() -> None:
    file = Path("posts.py").resolve()
    change(file, 1)
    first = load_spider("posts.py")
    assert load_spider("posts.py").function is first.function
    assert load_function(first.reference) is first.function
    change(file, 2)
    second = load_spider("posts.py")
    assert (first.function("u"), second.function("u")) == (1, 2)
    assert load_function(second.reference) is second.function


def test_a_change_that_breaks_a_file_is_told_and_can_be_mended() -> None:
    file = Path("posts.py").resolve()
    change(file, 1)
    load_spider("posts.py")
    file.write_text("def posts(url): return (")
    assert "SyntaxError" in error_of("posts.py", SpiderImportError)
    change(file, 3)
    assert load_spider("posts.py").function("u") == 3


# ---- package.module and package.module:function ----


@pytest.mark.parametrize(
    ("target", "reference"),
    [
        ("pack.posts", "pack.posts:posts"),
        ("pack.posts:posts", "pack.posts:posts"),
        ("lonely:posts", "lonely:posts"),
    ],
)
def test_a_module_of_the_working_directory(target: str, reference: str) -> None:
    write("pack/__init__.py")
    for file in ("pack/posts.py", "lonely.py"):
        write(file, MARKED, name="posts")
    found = load_spider(target)
    assert (found.name, found.reference) == ("posts", reference)
    assert load_function(reference) is found.function


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("no_such_module:posts", "there is no module no_such_module; looked in the working"),
        ("no.such.module", "there is no module no; looked in the working directory {here}"),
        ("pack.nothing", "there is no module pack.nothing"),
        ("os.path.nothing:x", "there is no module os.path.nothing"),
        ("pack.posts:zzz", "pack.posts has no function zzz; it has posts"),
        ("pack.empty", "pack.empty holds no function marked with @spider and none called empty"),
    ],
)
def test_a_module_that_is_not_there(folder: Path, target: str, complaint: str) -> None:
    write("pack/__init__.py")
    write("pack/posts.py", MARKED, name="posts")
    write("pack/empty.py")
    assert complaint.format(here=folder) in error_of(target)


# ---- Modules that can't be imported ----


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("def posts(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
    ],
)
@pytest.mark.parametrize("target", ["posts", "spiders/posts.py", "spiders.posts:posts"])
def test_an_error_inside_a_module_is_shown_with_its_traceback(
    text: str, shown: str, target: str
) -> None:
    write("spiders/__init__.py")
    file = write("spiders/posts.py", f"\n{text}\n")
    message = error_of(target, SpiderImportError)
    assert "failed to import:\n" in message
    assert f'File "{file}", line 2' in message
    assert shown in message.splitlines()[-1]
    assert "spiders.posts" not in sys.modules


# ---- Functions ----


def module_level(response: Any) -> None: ...


@spider(name="renamed")
def marked(response: Any) -> None: ...


class CallableObject:
    def __call__(self, response: Any) -> None: ...


def test_a_function_of_a_module_travels_by_its_name() -> None:
    found = load_spider(module_level)
    assert found.reference == f"{__name__}:module_level"
    assert (found.name, found.file) == ("module_level", Path(__file__))
    assert load_spider(marked).name == "renamed"


def test_a_function_of_a_loaded_file_travels_by_its_file() -> None:
    file = write("posts.py", MARKED, name="posts")
    function = load_spider("posts.py").function
    assert load_spider(function).reference == f"{file}:posts"


@pytest.mark.parametrize("function", [lambda url: None, CallableObject()], ids=["lambda", "object"])
def test_what_has_no_name_stays_in_its_process(function: Any) -> None:
    found = load_spider(function)
    assert found.reference.startswith("local:")
    assert load_function(found.reference) is function
    assert found.name in ("lambda", "CallableObject")


def test_closures_of_the_same_name_are_told_apart() -> None:
    def closure(number: int) -> Any:
        def posts(url: str) -> int:
            return number

        return posts

    one, two = load_spider(closure(1)), load_spider(closure(2))
    assert one.reference != two.reference
    assert load_function(one.reference)("u") == 1
    assert load_function(two.reference)("u") == 2


def test_another_process_can_not_load_what_stays() -> None:
    with pytest.raises(SpiderNotFoundError, match=r"put a def in a file"):
        load_function("local:0")


def test_a_function_of_a_script_travels_by_its_file() -> None:
    file = write(
        "script.py",
        """
        import sys
        from crawler.loader import load_spider

        def posts(url): return {"url": url}

        if __name__ == "__main__":
            print(load_spider(posts).reference)
        """,
    )
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{file}:posts\n"
    assert load_function(done.stdout.strip())("u") == {"url": "u"}


# ---- The list ----


def test_spiders_are_listed_without_being_imported() -> None:
    write(
        "spiders/raising.py",
        '''
        """The module's own words."""
        import crawler
        raise RuntimeError

        @crawler.spider
        def raising(response): ...
        ''',
    )
    write("spiders/bare.py", 'def bare(url):\n    """A bare one.\n\n    More."""\ndef other(): ...')
    write("spiders/many.py", SEVERAL)
    write("spiders/alone.py", MARKED, name="differently")
    write("spiders/__init__.py", "raise RuntimeError")
    write("spiders/_hidden.py", MARKED, name="hidden")
    write("spiders/nothing.py", "import os")
    write("spiders/notes.txt", "def notes(url): ...")
    listed = [(each.name, each.summary, each.file.name) for each in list_spiders()]
    assert listed == [
        ("alone", "", "alone.py"),
        ("bare", "A bare one.", "bare.py"),
        ("spiders/many.py:first", "", "many.py"),
        ("spiders/many.py:second", "", "many.py"),
        ("raising", "The module's own words.", "raising.py"),
    ]


@pytest.mark.parametrize("content", [b"def broken(:", b"\xff\xfe\xff", b"x = '\0'"])
def test_a_file_that_can_not_be_read_is_listed_with_the_reason(content: bytes) -> None:
    write("spiders/broken.py").write_bytes(content)
    (listed,) = list_spiders()
    assert listed.name == "broken"
    assert listed.summary.startswith("(can't be read: ")


def test_no_folder_holds_no_spiders() -> None:
    assert list(list_spiders()) == []


def test_every_listed_spider_can_be_loaded_by_its_name() -> None:
    write("spiders/many.py", SEVERAL)
    write("spiders/alone.py", MARKED, name="differently")
    assert [result_of(load_spider(each.name)) for each in list_spiders()] == [
        {"from": "differently"},
        1,
        2,
    ]
