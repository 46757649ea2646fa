"""Who may import whom, read from the source: data < rules < stages < engine, map < run < cli."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "crawler"

DATA = {
    "canonical",
    "download",
    "errors",
    "links",
    "lock",
    "call",
    "pages",
    "proxy",
    "request",
    "response",
    "result",
    "settings",
    "spider",
    "thumbnail_rule",
    "turns",
    "users_traceback",
    "wording",
    "step",
    "version",
}
RULES = {
    "again",
    "asked_fields",
    "verdict",
    "accounting",
    "advice",
    "refusals",
    "run_log",
    "address",
    "arguments",
    "attempt",
    "backlog",
    "backoff",
    "content",
    "cookies",
    "entry",
    "escape",
    "file_name",
    "file_type",
    "frontier",
    "gate",
    "history",
    "journal",
    "keys",
    "known_hosts",
    "limits",
    "lines",
    "newest",
    "notes",
    "open_files",
    "outage",
    "part",
    "ranked",
    "ranks",
    "speculation",
    "politeness",
    "process",
    "publish",
    "remote",
    "retry",
    "robots",
    "scope",
    "shared",
    "dupefilter",
    "downloads",
    "file_part",
    "file_store",
    "item_files",
    "fingerprint",
    "start",
    "thumbnail_list",
    "thumbnails",
    "steps",
    "table_name",
    "traps",
    "url",
    "well_formed",
}
STAGES = {
    "collector",
    "display",
    "executors",
    "exporters",
    "fetchers",
    "loader",
    "output",
    "parcel",
    "pipeline",
    "progress",
    "refresh",
    "run_folder",
    "scheduler",
    "worker",
}
MAPS = {"callbacks", "calls", "lazy", "mapping", "pool", "tally"}
LAYERS = [DATA, RULES, STAGES, {"engine"} | MAPS, {"run", "picture_folder"}, {"cli", "__main__"}]

# Stages don't know each other, but for these: (who, whom).
BETWEEN_STAGES = {
    ("worker", "loader"),
    ("worker", "fetchers"),
    ("output", "exporters"),
    ("parcel", "loader"),
    ("refresh", "output"),
}

# A third-party package has one home.
HOMES: dict[str, str | tuple[str, ...]] = {
    "requests": "fetchers/requests.py",
    "urllib3": "fetchers/",
    "click": "cli/",
    "rich": ("cli/", "display.py"),
    "aiohttp": "fetchers/aiohttp.py",
    "multidict": "fetchers/aiohttp.py",
    "yarl": "fetchers/aiohttp.py",
    "certifi": "fetchers/aiohttp.py",
    "uvloop": "executors/aio.py",
    "bs4": "response.py",
    "lxml": "response.py",
    "selectolax": "response.py",
    "paramiko": "known_hosts.py",
    "parsel": "response.py",
    "w3lib": "response.py",
    "charset_normalizer": "response.py",
    "tenacity": "retry.py",
    "fcntl": ("lock.py", "shared.py"),
    "fsspec": "remote.py",
    "idna": "canonical.py",
    "protego": "robots.py",
    "publicsuffixlist": "cookies.py",
    "PIL": "thumbnails.py",
    "jmespath": "cli/where.py",
    "numpy": "shared.py",
    "pyarrow": "exporters/parquet.py",
    "zstandard": "exporters/compression.py",
}

FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "core", "misc", "manager", "handler"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """`cli/run.py` belongs to `cli`, `engine.py` to `engine`, the package's own file to nothing."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether it is only for type checkers), also those inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = PACKAGE.parent / node.module.replace(".", "/") / f"{alias.name}.py"
                whole = f"{node.module}.{alias.name}" if inner.exists() else node.module
                yield whole, id(node) in for_types


def ours(path: Path) -> set[str]:
    """The parts of crawler that a module imports at run time."""
    names = {name for name, for_types in imports(path) if not for_types}
    return {name.split(".")[1] for name in names if name.startswith("crawler.")}


def rank(part: str) -> int:
    return next(level for level, layer in enumerate(LAYERS) if part in layer)


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_module_has_its_layer_and_imports_only_downwards(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return  # public names only
    if part == "demo":
        assert ours(path) <= {"demo"}, "the practice site stands alone"
        return
    for other in ours(path) - {part, "demo"}:
        assert rank(other) <= rank(part), f"{path} imports {other}, which is above it"
        if part in STAGES and other in STAGES:
            assert (part, other) in BETWEEN_STAGES, f"the stage {part} imports the stage {other}"


def test_every_name_in_the_table_is_a_module() -> None:
    parts = {part_of(path) for path in modules()} - {"__init__", "demo"}
    assert parts == set().union(*LAYERS)


def test_there_is_no_cycle() -> None:
    graph = {part: set[str]() for part in set().union(*LAYERS)}
    for path in modules():
        if part_of(path) in graph:
            graph[part_of(path)] |= ours(path) & set(graph) - {part_of(path)}
    finished: set[str] = set()
    while len(finished) < len(graph):
        free = {p for p, needed in graph.items() if p not in finished and needed <= finished}
        assert free, f"a cycle among {sorted(set(graph) - finished)}"
        finished |= free


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_third_party_package_has_one_home(path: Path) -> None:
    for name, _ in imports(path):
        package = name.partition(".")[0]
        if package in ("crawler", "__future__") or package in sys.stdlib_module_names:
            continue
        assert package in HOMES, f"{path} imports {package}, which has no home yet"
        assert name_of(path).startswith(HOMES[package]), f"{package} belongs in {HOMES[package]}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_nothing_read_from_elsewhere_can_run(path: Path) -> None:
    modules_used = {name.partition(".")[0] for name, _ in imports(path)}
    assert not modules_used & {"pickle", "marshal", "shelve", "dill"}
    calls = [
        n.func.id
        for n in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    ]
    assert not {"eval", "exec"} & set(calls)


def test_no_module_is_a_drawer_for_everything() -> None:
    names = {path.stem for path in modules()} | {path.parent.name for path in modules()}
    assert not names & FORBIDDEN_NAMES
