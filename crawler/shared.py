"""A block of memory with a name, which several processes of this machine see at the same time.

    from crawler import shared

    with shared.create("frame", 480 * 640 * 3) as frame:        # one process makes it, and owns it
        frame.buffer[0] = 255                                   # a memoryview of its bytes
        frame.array((480, 640, 3), "uint8")[:] = 1              # with numpy: an array over them

    with shared.attach("frame") as frame:                       # others see it by its name
        print(frame.array((480, 640, 3), "uint8").sum())

     ┌────────┬─────────┐
     │ header │ content │   header: whose block it is; written once, but for the word that says
     └────────┴─────────┘   that the owner let go of it

Nothing is locked: who writes what, and when, is for those who share it to agree on.

The owner's `close` removes the block, at the latest when the program ends. An owner that is killed
can't: what it leaves is removed by a `create` of the same user, at once if it is of that name, else
unless the last look was just now; or by `remove_stale`.
"""

from __future__ import annotations

import _posixshmem
import atexit
import fcntl
import math
import mmap
import os
import secrets
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from crawler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy

_MAGIC = int.from_bytes(b"in order", "little")
_VERSION = 2

# Magic, version, the owner's pid and start time, bytes of content, whether the owner let go. The
# first four stay where they are in every version, so that any version can tell whether a block is
# stale. A whole cache line, so that the content begins at the start of one.
_HEADER = struct.Struct("=8q")
_OVER = 5

_SHM = Path("/dev/shm")  # noqa: S108 - where Linux shows its shared memory


_LOOKING = 0.05
"""The share of its time that a process that creates blocks looks for stale ones."""
_next_look = 0.0
_own: set[Shared] = set()
"""What this process has to remove before it ends."""


class Shared:
    """A block of shared memory; made by `create` and `attach`.

    Sent to another process of this machine, it attaches there.
    """

    def __init__(self, name: str, memory: mmap.mmap, *, is_owner: bool) -> None:
        self.name = name
        """What others attach by."""
        _, _, self.pid, self._start_time, self.size, *_ = _HEADER.unpack_from(memory)
        self._memory = memory
        self._header = memoryview(memory)[: _HEADER.size].cast("q")
        self._content = memoryview(memory)[_HEADER.size : _HEADER.size + self.size]
        self._creator = os.getpid() if is_owner else None
        self._is_closed = False
        if is_owner:
            _own.add(self)

    @property
    def buffer(self) -> memoryview:
        """The content: `size` bytes, at first all zero. Raises UsageError once it is closed."""
        if self._is_closed:
            raise UsageError(f"the shared block {self.name!r} is closed")
        return self._content

    def array(self, shape: int | tuple[int, ...], dtype: Any = "uint8") -> numpy.ndarray[Any, Any]:
        """The content as a numpy array of that shape and type.

        Raises UsageError if the content isn't exactly as large, or numpy isn't there.
        """
        try:
            import numpy
        except ImportError:
            raise UsageError("arrays need numpy: pip install 'crawl-in-order[arrays]'") from None
        try:
            kind = numpy.dtype(dtype)
        except TypeError as error:
            raise UsageError(f"{dtype!r} is no type of an array: {error}") from None
        if kind.hasobject or kind.subdtype:
            raise UsageError(f"{kind} can't be shared: only numbers, and records of them, can")
        sides = (shape,) if isinstance(shape, int) else tuple(shape)
        needed = math.prod(sides) * kind.itemsize
        if any(side < 0 for side in sides) or needed != self.size:
            raise UsageError(
                f"an array {sides} of {kind} takes {needed:,} bytes, but the shared block "
                f"{self.name!r} has {self.size:,}"
            )
        # `numpy.ndarray(buffer=...)` would keep an address, but not the memory from being unmapped.
        return numpy.frombuffer(self.buffer, kind).reshape(sides)

    def is_mine(self) -> bool:
        """Whether this process made it; a fork of the owner owns nothing."""
        return self._creator == os.getpid()

    def owner_alive(self) -> bool:
        """Whether the process that made it is still there."""
        return _alive(self.pid, self._start_time)

    @property
    def ended(self) -> bool:
        """Whether the owner let go of it, or died: nobody will attach to it any more."""
        return not self._is_closed and bool(self._header[_OVER] or not self.owner_alive())

    def close(self) -> None:
        """Let go of it; the owner also removes it. Arrays that are left keep the memory.

        Others that are attached keep it too, and see that it has `ended`.
        """
        if self._is_closed:
            return
        self._is_closed = True
        _own.discard(self)
        if self.is_mine():
            self._header[_OVER] = 1
            with suppress(OSError):  # what is left over, `remove_stale` takes care of
                _posixshmem.shm_unlink(f"/{self.name}")
        self._header.release()
        with suppress(BufferError):  # it goes with the last array
            self._content.release()
            self._memory.close()
        del self._memory

    def __reduce__(self) -> tuple[Callable[[str], Shared], tuple[str]]:
        return attach, (self.name,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def create(name: str | None, size: int) -> Shared:
    """A new block of `size` bytes, all zero, owned by this process; None makes up a name.

    A block of that name whose owner is dead is replaced. Raises UsageError if there is a living
    one, no room, or no way to give it that name.
    """
    if not isinstance(size, int) or size < 1:
        raise UsageError(f"size: {size!r} is no number of bytes; give 1 or more")
    name = f"crawl-{os.getpid()}-{secrets.token_hex(4)}" if name is None else _checked(name)
    _remove_stale_sometimes()
    _remove(_SHM / name)
    descriptor = _open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    try:
        os.ftruncate(descriptor, _HEADER.size + size)
        if _SHM.is_dir():
            # It finds room for a page when it is first written to, and if there is none, kills us.
            os.posix_fallocate(descriptor, 0, _HEADER.size + size)
        memory = mmap.mmap(descriptor, _HEADER.size + size)
    except (OSError, ValueError, OverflowError) as error:
        _posixshmem.shm_unlink(f"/{name}")
        problem = getattr(error, "strerror", None) or error
        raise UsageError(
            f"there is no room for {size:,} bytes of shared memory ({_SHM}): {problem}"
        ) from None
    finally:
        os.close(descriptor)
    owner = os.getpid(), _start_time(os.getpid())
    _HEADER.pack_into(memory, 0, 0, _VERSION, *owner, size, 0, 0, 0)
    block = Shared(name, memory, is_owner=True)
    block._header[0] = _MAGIC  # last: no one takes a half-made block for a whole one
    return block


def attach(name: str, size: int | None = None, *, also_ended: bool = False) -> Shared:
    """The block of that name. `size` is what it must have, if that is known.

    Raises UsageError if there is none, it has another size, or can't be read here, or its owner is
    dead (unless `also_ended`).
    """
    descriptor = _open(_checked(name), os.O_RDWR)
    try:
        length = os.fstat(descriptor).st_size
        memory = mmap.mmap(descriptor, length) if length >= _HEADER.size else None
    finally:
        os.close(descriptor)
    problem = _unreadable(memory)
    if memory is None or problem:
        raise UsageError(f"{name!r} {problem}")
    block = Shared(name, memory, is_owner=False)
    if size is not None and size != block.size:
        problem = f"has {block.size:,} bytes; {size:,} were expected"
    elif block.ended and not also_ended:
        problem = f"was left behind by process {block.pid}, which was killed"
    if problem:
        block.close()
        raise UsageError(f"the shared block {name!r} {problem}")
    return block


def close_own() -> None:
    """Close all blocks that this process made; called when it ends."""
    for block in list(_own):
        block.close()


atexit.register(close_own)


def living() -> list[str]:
    """The names of this user's blocks whose owners live; on Linux only, others can't list them."""
    return [path.name for path, alive in _blocks() if alive]


def remove_stale() -> list[str]:
    """Remove this user's blocks whose owners are dead, and return their names; on Linux only."""
    return [path.name for path, alive in _blocks() if not alive and _remove(path)]


def _remove_stale_sometimes() -> None:
    """Else many blocks would take a time that grows with the square of their number."""
    global _next_look
    began = time.monotonic()
    if began >= _next_look:
        remove_stale()
        ended = time.monotonic()
        _next_look = ended + (ended - began) / _LOOKING


def _checked(name: str) -> str:
    if not isinstance(name, str) or not name or "/" in name or "\0" in name:
        raise UsageError(f"{name!r} can't be the name of a shared block: give text without '/'")
    return name


def _open(name: str, flags: int) -> int:
    try:
        return int(_posixshmem.shm_open(f"/{name}", flags, mode=0o600))
    except FileExistsError:
        raise UsageError(f"there is a shared block {name!r} already; attach to it") from None
    except FileNotFoundError:
        raise UsageError(
            f"there is no shared block {name!r}: its owner has ended, or has yet to create it"
        ) from None
    except PermissionError:
        raise UsageError(f"the shared block {name!r} belongs to another user") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{name!r} can't be the name of a shared block: {error}") from None


def _unreadable(memory: mmap.mmap | None) -> str | None:
    """Why this is not a block that can be read here, if so."""
    magic, version, _, _, size, *_ = (0,) * 8 if memory is None else _HEADER.unpack_from(memory)
    if memory is None or magic != _MAGIC:
        return "is no shared block of crawl-in-order"
    if version != _VERSION:
        return (
            f"has layout {version} and this is a version for layout {_VERSION}: "
            "use the version of crawl-in-order that made it"
        )
    return None if 0 < size <= len(memory) - _HEADER.size else "is cut short"


def _blocks() -> Iterator[tuple[Path, bool]]:
    """This user's blocks, and whether their owners live."""
    for path in sorted(_SHM.glob("*")):
        with suppress(OSError):  # its owner may end meanwhile
            if _is_of_this_user(path):
                with path.open("rb") as file:
                    alive = _owner_alive(file.read(_HEADER.size), path.name)
                if alive is not None:
                    yield path, alive


def _is_of_this_user(path: Path) -> bool:
    with suppress(OSError):  # its owner may end meanwhile
        return path.is_file() and path.lstat().st_uid == os.geteuid()
    return False


def _owner_alive(header: bytes, name: str) -> bool | None:
    """Whether the owner of a block lives; None for what is no block, or one that is being made."""
    magic, _, pid, start_time, *_ = _HEADER.unpack(header.ljust(_HEADER.size, b"\0"))
    if magic == _MAGIC:
        return _alive(pid, start_time)
    number = name.removeprefix("crawl-").split("-")[0]
    if name.startswith("crawl-") and number.isdigit() and not any(header):
        return None if _alive(int(number), 0) else False  # it died before the block was filled in
    return None


def _remove(path: Path) -> bool:
    """Remove a stale block, unless someone else did and a new one has its name by now."""
    if not _is_of_this_user(path):
        return False
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # whoever removes it holds this
        is_stale = _owner_alive(file.read(_HEADER.size), path.name) is False
        if is_stale and os.path.samestat(os.fstat(file.fileno()), path.lstat()):
            path.unlink()
            return True
    return False


def _alive(pid: int, start_time: int) -> bool:
    """Whether a process lives and is the one that started then, not one with its number."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass  # it runs under another user's name
    except (ProcessLookupError, OverflowError):
        return False
    return not start_time or _start_time(pid) in (start_time, 0)


def _start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; -1 if it is dead, 0 if no one says."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0  # not Linux, or /proc hides the processes of others
    # proc(5): after the name, which may hold anything, come the state (3rd) ... start time (22nd).
    state, *rest = stat.rpartition(b")")[2].split()
    return -1 if state in (b"Z", b"X") else int(rest[18])
