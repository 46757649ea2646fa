"""Calls and their outcomes as bytes, on the way to a worker process and back.

multiprocessing's pickle, but for one thing: the worker's main module is not the user's script. So
what is defined in the script travels as the script's file and a name. A worker imports that file;
what comes back is again the script's own, so that `except MyError` works.

Only what one of our own processes sent through a pipe is unpacked here.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.context import get_spawning_popen, set_spawning_popen
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import FunctionType
from typing import Any

from crawler.attempt import Arguments, Outcome, attempt_each
from crawler.errors import UsageError
from crawler.loader import file_of_module, from_file

_PROTOCOL = 4
"""Of pickle; to which of its versions an object is reduced makes no difference since 2."""


class _Packer(ForkingPickler):
    def reducer_override(self, thing: Any) -> Any:
        """What the script gives a name; all else goes the usual way."""
        if type(thing) is not FunctionType and not isinstance(thing, type):
            return self._reduce_object(thing)
        return _by_name(thing, thing.__qualname__)

    def _reduce_object(self, thing: Any) -> Any:
        """Objects that travel by their names: functions with a cache, TypeVars, singletons."""
        kind: Any = type(thing)
        has_default = kind.__reduce__ is object.__reduce__
        if has_default and kind.__reduce_ex__ is object.__reduce_ex__:
            return NotImplemented
        if kind in self.dispatch_table or file_of_module(_module_of(thing))[0]:
            return NotImplemented
        reduced = thing.__reduce_ex__(_PROTOCOL)
        return _by_name(thing, reduced) if isinstance(reduced, str) else reduced


def _module_of(thing: Any) -> str:
    return str(getattr(thing, "__module__", None))


def _by_name(thing: Any, name: str) -> Any:
    """How a thing of the script is found elsewhere; NotImplemented for the usual way."""
    is_known, file = file_of_module(_module_of(thing))
    if is_known:
        return NotImplemented
    if file is None:
        raise UsageError(
            f"{name} is defined in a notebook or at the prompt, where other "
            "processes can't find it: put it in a file, or use threads"
        )
    if "<" in name:  # <lambda>, <locals>
        return NotImplemented  # the usual way says what is wrong with it
    return _from_file, (str(file), name)


class _PlainPacker(ForkingPickler):
    """For numbers, text, lists and the like, which are sure to be unpacked as they were."""

    def reducer_override(self, thing: Any) -> Any:
        raise TypeError(f"{type(thing)} is none of them")


def pack(value: object) -> bytes:
    """The value as bytes; raises what pickle raises for a value that can't travel."""
    return bytes(_Packer.dumps(value))


def pack_function(function: Callable[..., Any]) -> bytes:
    """The function as bytes, by its name. Raises UsageError for one that has none."""
    try:
        return pack(function)
    except UsageError:
        raise
    except Exception as error:
        name = getattr(function, "__qualname__", None) or repr(function)
        raise UsageError(
            f"{name} can't be sent to another process ({error}): processes need a function at the "
            "top of a module, a method or a partial of such things; or use threads"
        ) from error


def unpack(data: bytes) -> Any:
    """The value that was packed, by this process or one of its workers."""
    return ForkingPickler.loads(data)


def work(function: bytes, batch: bytes) -> bytes | list[bytes]:
    """What a worker does: call the function for each of the arguments, pack the outcomes.

    All at once where nothing can go wrong with it, else each by itself.
    """
    outcomes = attempt_each(unpack(function), unpack(batch))
    if len(outcomes) > 1:
        with suppress(Exception):
            return bytes(_PlainPacker.dumps(outcomes))
    return [_packed(outcome) for outcome in outcomes]


def unpack_outcomes(answer: bytes | list[bytes]) -> list[Outcome]:
    """What `work` packed; what can't be unpacked is an error in its place."""
    if isinstance(answer, list):
        return [_unpacked(outcome) for outcome in answer]
    outcomes: list[Outcome] = unpack(answer)
    return outcomes


class Luggage:
    """An initializer's arguments: packed when a process starts, for locks travel only then.

    There it is a function that unpacks them. Raises UsageError if they can't be packed.
    """

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self._arguments = arguments
        outer = get_spawning_popen()
        set_spawning_popen(_Rehearsal())  # type: ignore[arg-type]
        try:
            pack(arguments)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(
                f"initargs: they can't be sent to another process ({error})"
            ) from error
        finally:
            set_spawning_popen(outer)

    def __reduce__(self) -> Any:
        return partial, (unpack, pack(self._arguments))


class _Rehearsal:
    """Stands for the start of a process, in which locks and pipes may be packed."""

    def duplicate_for_child(self, descriptor: int) -> int:
        return descriptor

    DupFd = duplicate_for_child


def begin_elsewhere(
    _seat: int, function: bytes | None, arguments: Callable[[], tuple[Any, ...]]
) -> None:
    """A worker's initializer: calls the user's, if there is one."""
    if function is not None:
        unpack(function)(*arguments())


def pack_batch(batch: Sequence[Arguments]) -> bytes:
    """The arguments of some calls as bytes; raises what pickle raises."""
    return pack(list(batch))


def _from_file(file: str, name: str) -> object:
    return from_file(Path(file), name)


def _packed(outcome: Outcome) -> bytes:
    is_value, content = outcome
    if not is_value:
        return _packed_error(content)
    try:
        return pack(outcome)
    except Exception as error:  # noqa: BLE001  (it stands in the result's place)
        return pack(_no_result(error))


def _packed_error(error: BaseException) -> bytes:
    lines = traceback.format_exception(error)
    try:
        error.add_note("In the worker process:\n" + "".join(lines).rstrip())
        packed = pack((False, error))
        unpack(packed)  # some exceptions can be packed, but not be made again from that
    except Exception:  # noqa: BLE001  (it is told as text)
        return pack((False, RuntimeError(f"an exception that can't travel:\n{''.join(lines)}")))
    return packed


def _unpacked(data: bytes) -> Outcome:
    try:
        outcome: Outcome = unpack(data)
    except Exception as error:  # noqa: BLE001  (a class whose objects don't survive pickling)
        return _no_result(error)
    return outcome


def _no_result(problem: Exception) -> Outcome:
    return False, RuntimeError(f"the result can't travel: {problem!r}")
