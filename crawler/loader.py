"""A spider's name -> the spider. Workers load by the same references as the command line.

A reference is `package.module:function` or `/path/to/file.py:function`; both cross to other
processes as text. What only lives in this process (a function defined in a notebook or inside
another one, a method, a partial) gets a `local:...` reference, which nobody else can follow, and no
resumed crawl.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import itertools
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.machinery import SourceFileLoader, all_suffixes
from pathlib import Path
from types import ModuleType
from typing import Any

from crawler.call import LONE_FILE
from crawler.errors import SpiderImportError, SpiderNotFoundError, UsageError
from crawler.process import in_worker_process
from crawler.request import Request
from crawler.spider import Spider, is_marked, options_of
from crawler.users_traceback import users_traceback
from crawler.well_formed import well_formed
from crawler.wording import kind_of

SPIDERS_FOLDER = "spiders"

_functions: dict[str, Callable[..., Any]] = {}
"""What this process loaded or was given, by reference; other processes load for themselves."""
_local_references: dict[Callable[..., Any], str] = {}
_local_numbers = itertools.count(1)
_this_process = secrets.token_hex(4)
"""In `local:` references: after a resume, one must not mean another function of the same number."""
_modules: dict[Path, tuple[tuple[int, int], ModuleType]] = {}
_import_lock = threading.RLock()


def load_spider(target: str | Callable[..., Any], folder: Path | None = None) -> Spider:
    """The spider a user named: NAME, file.py[:function], package.module:function, or a function.

    NAME is looked up as NAME.py in `folder` (default: `spiders` in the working directory).
    Raises SpiderNotFoundError or SpiderImportError.
    """
    if callable(target):
        return _from_function(target)
    if not isinstance(target, str):
        raise SpiderNotFoundError(f"{target!r} is no spider: give a function, or a name as text")
    if "://" in target:
        raise SpiderNotFoundError(f"{target} is a URL; name a spider, and give it --urls {target}")
    where, _, function_name = target.partition(":")
    if _is_path(where):
        return _from_file(Path(where), function_name or None)
    if function_name or "." in where:
        return _from_module(where, function_name or None)
    folder = Path(SPIDERS_FOLDER) if folder is None else folder
    file = folder / f"{where}.py"
    if not file.is_file():
        raise SpiderNotFoundError(_not_found(where, folder))
    return _from_file(file, None, name=where)


def load_function(reference: str) -> Callable[..., Any]:
    """The function behind a reference; what a worker does."""
    if reference in _functions:
        return _functions[reference]
    where, _, name = reference.rpartition(":")
    if where == "local":
        raise SpiderNotFoundError(
            "neither another process nor a resumed crawl can load what has no name at the top of "
            "a module: put a def in a file"
        )
    module = _import_file(Path(where)) if _is_path(where) else _import_module(where)
    return _attribute(module, name)


def load_named(reference: str) -> Any:
    """What `package.module:name` or `file.py:name` means, whatever it is.

    Raises SpiderNotFoundError or SpiderImportError.
    """
    where, _, name = reference.rpartition(":")
    if _is_path(where):
        path = Path(where)
        if not path.is_file():
            raise SpiderNotFoundError(f"there is no file {path}")
        return _lookup(_import_file(path.resolve()), name)
    return _lookup(_import_module(where), name)


def _is_path(where: str) -> bool:
    """Whether a file is meant, not a module; a script may have no suffix."""
    return where.endswith(".py") or "/" in where


_MAIN = sys.modules.get("__main__")
"""Kept, because the process pool takes it away for moments."""


def _module_of(function: Callable[..., Any]) -> ModuleType | None:
    name = getattr(function, "__module__", None) or ""
    return _MAIN if name == "__main__" else sys.modules.get(name)


def file_of_module(name: str) -> tuple[bool, Path | None]:
    """(whether other processes know the module by that name, else its file if it has one).

    Those that they don't know are the script itself and lone files that were loaded.
    """
    if name == "__main__":
        file = getattr(_MAIN, "__file__", None)  # "<stdin>" if it is read from there
        return False, Path(file).resolve() if file and Path(file).is_file() else None
    if name.startswith(LONE_FILE):
        for path, (_, module) in _modules.items():
            if module.__name__ == name:
                return False, path
    return True, None


def from_file(path: Path, name: str) -> Any:
    """What of that (dotted) name a file defines; the script itself isn't loaded again.

    Raises UsageError if there is nothing of that name, SpiderImportError if the file can't run.
    """
    main = getattr(_MAIN, "__file__", None)
    is_script = main is not None and Path(main).resolve() == path
    found: Any = _MAIN if is_script else _import_file(path)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(
                f"a worker process finds no {name} in {path}; it imports the file as far as the "
                "first use of a pool: define it above that, or use the pool under "
                'if __name__ == "__main__"'
            ) from None
    return found


def callback_name(callback: str | Callable[..., Any], reference: str) -> str:
    """What a callback is called in a request of the spider with that reference.

    The bare name for a function of the spider's module, else a reference. Raises
    SpiderNotFoundError for a name that the module doesn't have, what is no function, and a function
    without such a name, unless the spider has none either: nobody could find it after a resume.
    """
    if isinstance(callback, str):
        if reference.startswith("local:") and ":" not in callback:
            raise SpiderNotFoundError(
                f"callback={callback!r}: this spider stands in no module where a name could be "
                "looked up; give the function itself"
            )
        load_function(beside(reference, callback))
        return callback
    if not callable(callback):
        raise SpiderNotFoundError(f"callback={callback!r} is neither a function nor a name of one")
    found = _reference_of(callback) or _local_references.get(callback)
    if found is None:
        if not reference.startswith("local:"):
            raise SpiderNotFoundError(
                f"the callback {callback!r} can't be found by a name, which a resumed crawl and "
                "other processes have to: write a function (def) at the top of the module, and "
                "give it what it has to know in meta={...}"
            )
        found = _new_local_reference()
        _functions[found] = callback
        _local_references[callback] = found
    module, _, name = found.rpartition(":")
    return name if module == reference.rpartition(":")[0] and module != "local" else found


def _new_local_reference() -> str:
    return f"local:{_this_process}-{next(_local_numbers)}"


def plain_request(request: Request, reference: str) -> Request:
    """The request as data that any process can hold: its callback by name, all else plain.

    Raises ItemError or SpiderNotFoundError when that isn't possible.
    """
    callback = request.callback
    if callback is not None:
        callback = callback_name(callback, reference)
    request = well_formed(request)
    return request if callback is request.callback else replace(request, callback=callback)


def beside(reference: str, callback: str) -> str:
    """The reference of a callback: itself, or the function of that name beside the spider."""
    return callback if ":" in callback else f"{reference.rpartition(':')[0]}:{callback}"


def _from_function(function: Callable[..., Any]) -> Spider:
    options = options_of(function)
    reference = _reference_of(function) or _new_local_reference()
    file = None
    if inspect.isroutine(function):
        with suppress(TypeError):  # a builtin
            file = inspect.getsourcefile(inspect.unwrap(function))
    name = options.name or getattr(function, "__name__", type(function).__name__).strip("<>")
    return _spider(name, reference, function, Path(file) if file else None)


def _reference_of(function: Callable[..., Any]) -> str | None:
    """How another process finds the function, or None if it can't."""
    module = _module_of(function)
    name = getattr(function, "__name__", "")
    file = getattr(module, "__file__", None)
    if module is None or file is None or getattr(module, name, None) is not function:
        return None
    is_script = module.__name__ == "__main__" or module.__name__.startswith(LONE_FILE)
    return f"{Path(file).resolve()}:{name}" if is_script else f"{module.__name__}:{name}"


def _spider(name: str, reference: str, function: Callable[..., Any], file: Path | None) -> Spider:
    _functions[reference] = function
    return Spider(name, reference, function, options_of(function), file)


def _from_file(path: Path, function_name: str | None, name: str | None = None) -> Spider:
    if not path.is_file():
        raise SpiderNotFoundError(f"there is no file {path}")
    path = path.resolve()
    module = _import_file(path)
    function_name = function_name or _pick(module, path.stem, str(path))
    function = _attribute(module, function_name)
    found_name = options_of(function).name or name or function_name
    return _spider(found_name, f"{path}:{function_name}", function, path)


def _from_module(module_name: str, function_name: str | None) -> Spider:
    module = _import_module(module_name)
    function_name = function_name or _pick(module, module_name.rpartition(".")[2], module_name)
    function = _attribute(module, function_name)
    file = getattr(module, "__file__", None)
    name = options_of(function).name or function_name.rpartition(".")[2]
    return _spider(name, f"{module_name}:{function_name}", function, Path(file) if file else None)


def _pick(module: ModuleType, stem: str, where: str) -> str:
    """The spider a module means when no function is named: its only marked one, or its namesake."""
    marked = [
        name
        for name, value in vars(module).items()
        if is_marked(value) and value.__module__ == module.__name__
    ]
    if stem in marked or (not marked and callable(getattr(module, stem, None))):
        return stem
    if len(marked) == 1:
        return marked[0]
    if marked:
        choice = " or ".join(f"{where}:{name}" for name in marked)
        raise SpiderNotFoundError(f"{where} holds several spiders; say which: {choice}")
    raise SpiderNotFoundError(
        f"{where} holds no function marked with @spider and none called {stem}; "
        f"name a function: {where}:FUNCTION"
    )


def _lookup(module: ModuleType, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part, None)
    if value is None:
        functions = [
            n
            for n, v in vars(module).items()
            if inspect.isfunction(v) and v.__module__ == module.__name__
        ]
        near = difflib.get_close_matches(name, functions, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; it has {_listing(functions)}"
        raise SpiderNotFoundError(f"{_shown(module)} has no function {name}{hint}")
    return value


def _attribute(module: ModuleType, name: str) -> Callable[..., Any]:
    value = _lookup(module, name)
    if not callable(value):
        raise SpiderNotFoundError(
            f"{_shown(module)}:{name} is {kind_of(value)}, not a function; "
            "a spider is a function that takes a Response (or a URL)"
        )
    function: Callable[..., Any] = value
    return function


def _shown(module: ModuleType) -> str:
    """What the user calls a module: a lone file has a name of ours."""
    is_file = module.__name__.startswith(LONE_FILE)
    return str(module.__file__) if is_file else module.__name__


def _listing(names: list[str]) -> str:
    return ", ".join(sorted(names)) if names else "no functions at all"


def _import_module(name: str) -> ModuleType:
    """Import by name; the working directory counts, as it does for `python -m`."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise SpiderNotFoundError(
            f"{name!r} names no module; write package.module:function, or path/to/file.py"
        )
    with _import_lock:
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                raise SpiderNotFoundError(
                    f"there is no module {error.name}; looked in the working directory "
                    f"{Path.cwd()} and the installed packages"
                ) from None
            raise _import_error(name, error) from error
        except (Exception, SystemExit) as error:
            raise _import_error(name, error) from error


def _import_file(path: Path) -> ModuleType:
    """Import a file; its folder, or the folder above its package, counts for its own imports.

    So does the working directory, behind all others. A file that changed since is loaded anew, so a
    notebook runs what is on disk.
    """
    with _import_lock:
        stat = path.stat() if path.is_file() else None
        state = (stat.st_mtime_ns, stat.st_size) if stat is not None else (0, 0)
        if path in _modules and _modules[path][0] == state:
            return _modules[path][1]
        root, name = _module_name(path)
        if str(root) not in sys.path:
            # A package must win over an installed one of its name; a lone file's neighbours must
            # not hide the standard library's modules.
            is_packaged = "." in name
            sys.path.insert(0 if is_packaged else len(sys.path), str(root))
        _make_importable_from_here()
        # A script may be called anything, and Python finds out by the suffix what a file is.
        is_named = path.name.endswith(tuple(all_suffixes()))
        loader = None if is_named else SourceFileLoader(name, str(path))
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        if spec is None or spec.loader is None:
            raise SpiderNotFoundError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        previous = sys.modules.get(name)
        sys.modules[name] = module  # as import does: dataclasses and pickling look there
        try:
            with _importing():
                spec.loader.exec_module(module)
        except RunDuringImport:
            pass  # what stands above the call, the spider among it, is there
        except (Exception, SystemExit) as error:
            if previous is None:
                del sys.modules[name]
            else:
                sys.modules[name] = previous
            raise _import_error(str(path), error) from error
        _modules[path] = (state, module)
        return module


def _make_importable_from_here() -> None:
    """The working directory counts last: `python -m` has it first, the command not at all."""
    with suppress(FileNotFoundError):  # it was removed
        if "" not in sys.path and (here := str(Path.cwd())) not in sys.path:
            sys.path.append(here)


class RunDuringImport(BaseException):
    """Ends the import of a script by a worker process where the script would crawl."""


_importing_thread: int | None = None


@contextmanager
def _importing() -> Iterator[None]:
    global _importing_thread
    outer, _importing_thread = _importing_thread, threading.get_ident()
    try:
        yield
    finally:
        _importing_thread = outer


def end_import_by_worker() -> None:
    """Called where a crawl begins: a worker process that imports the script must not go on."""
    if in_worker_process() and _importing_thread == threading.get_ident():
        raise RunDuringImport


def _module_name(path: Path) -> tuple[Path, str]:
    """(folder for sys.path, dotted name): packages around the file are part of its name."""
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if len(parts) == 1:
        # A lone file must not hide an installed module of the same name.
        parts = [f"{LONE_FILE}{path.stem}"]
    return folder, ".".join(parts)


def _import_error(where: str, error: BaseException) -> SpiderImportError:
    return SpiderImportError(f"{where} failed to import:\n{users_traceback(error)}")


@dataclass(frozen=True, slots=True)
class Listed:
    """A spider as `crawl list` shows it."""

    name: str
    summary: str
    file: Path


def list_spiders(folder: Path | None = None) -> Iterator[Listed]:
    """The spiders in a folder, by name, read from the source text: nothing is imported."""
    folder = Path(SPIDERS_FOLDER) if folder is None else folder
    for file in sorted(folder.glob("*.py")):
        if file.name.startswith("_"):
            continue
        try:
            tree = ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError) as error:
            yield Listed(file.stem, f"(can't be read: {error})", file)
            continue
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        marked = [node for node in functions if any(map(_is_spider_decorator, node.decorator_list))]
        namesake = [node for node in functions if node.name == file.stem]
        for node in marked or namesake:
            alone = node.name == file.stem or len(marked) == 1
            doc = ast.get_docstring(node) or ast.get_docstring(tree) or ""
            name = file.stem if alone else f"{file}:{node.name}"
            yield Listed(name, doc.partition("\n")[0], file)


def _is_spider_decorator(node: ast.expr) -> bool:
    call = node.func if isinstance(node, ast.Call) else node
    name = call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "")
    return name == "spider"


def _not_found(name: str, folder: Path) -> str:
    place = folder.absolute()
    if not folder.is_dir():
        return (
            f"there is no spider {name!r}: there is no folder {place}. "
            f"Run from the folder that holds {folder}/, or name a file: crawl run path/to/file.py"
        )
    names = sorted(file.stem for file in folder.glob("*.py") if not file.name.startswith("_"))
    near = difflib.get_close_matches(name, names, n=3)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = f"there: {', '.join(names)}" if names else "it holds no spiders"
    return f"there is no spider {name!r}: looked for {name}.py in {place}; {hint}"
