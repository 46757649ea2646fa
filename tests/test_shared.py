"""crawler.shared: memory with a name, and what becomes of it however its owner ends."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import crawler
from crawler import shared
from crawler.errors import UsageError
from crawler.shared import Shared, living, remove_stale
from deadline import wait_until

SHM = Path("/dev/shm")
listable = pytest.mark.skipif(not SHM.is_dir(), reason="blocks can't be listed here")
FRAME = (480, 640, 3)
FRAME_BYTES = 480 * 640 * 3


@pytest.fixture
def name() -> str:
    return f"frame-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def block(name: str) -> Iterator[Shared]:
    with shared.create(name, FRAME_BYTES) as block:
        yield block


def program(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another Python process, the leader of its own group."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


OWNER = """
    import sys
    from crawler import shared
    block = shared.create(sys.argv[1], 100)
    block.buffer[0] = 7
    print("created", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def killed_owner(name: str) -> Iterator[subprocess.Popen[str]]:
    """It had no chance to clean up, nor had anybody else of its group.

    Whatever creates a block on this machine from now on, such as another test, cleans up after it.
    """
    with program(OWNER, name) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "created\n"
        with shared.attach(name) as watcher:
            os.killpg(owner.pid, signal.SIGKILL)
            wait_until(lambda: watcher.ended)  # though nobody has waited for the process yet
            assert watcher.buffer[0] == 7
            yield owner
            assert watcher.buffer[0] == 7, "a new one of that name is another memory"
    remove_stale()


# What is shared


def test_what_one_writes_the_others_see(block: Shared) -> None:
    assert block.buffer.nbytes == block.size == FRAME_BYTES
    assert not any(block.buffer)
    with shared.attach(block.name) as other:
        block.buffer[10] = 1
        other.buffer[11] = 2
        assert bytes(other.buffer[9:13]) == bytes(block.buffer[9:13]) == b"\0\1\2\0"
    assert block.buffer[11] == 2


def test_arrays_of_any_shape_and_type_that_fit(block: Shared) -> None:
    frame = block.array(FRAME)
    assert (frame.shape, frame.dtype) == (FRAME, numpy.uint8)
    frame[:] = 1
    with shared.attach(block.name, FRAME_BYTES) as other:
        seen = other.array((FRAME_BYTES // 8,), "int64")
        assert seen[0] == 0x0101010101010101
        seen[0] = 0
        assert frame.sum() == FRAME_BYTES - 8
        assert other.array(FRAME_BYTES, numpy.uint8)[-1] == 1
        del seen


def test_a_frame_that_another_process_fills(block: Shared) -> None:
    code = f"""
        import sys
        from crawler import shared
        with shared.attach(sys.argv[1], {FRAME_BYTES}) as frame:
            frame.array({FRAME})[:] = 1
            sys.stdin.readline()
    """
    frame = block.array(FRAME)
    with program(code, block.name) as writer:
        wait_until(lambda: frame.sum() == FRAME_BYTES)
        assert writer.communicate("\n") == ("", "")
    assert frame.sum() == FRAME_BYTES


def fill(block: Shared, value: int) -> int:
    block.array(FRAME)[:] = value
    return os.getpid()


def test_sent_to_a_worker_it_is_the_same_memory(block: Shared) -> None:
    with crawler.Pool(1) as pool:
        assert pool.apply(fill, (block, 5)) != os.getpid()
    assert block.array(FRAME).min() == 5
    with pickle.loads(pickle.dumps(block)) as here:
        assert here.buffer[0] == 5
    assert crawler.shared is shared


@given(st.binary(min_size=1, max_size=10_000))
def test_any_bytes(data: bytes) -> None:
    with shared.create(None, len(data)) as block, shared.attach(block.name) as other:
        block.buffer[:] = data
        assert bytes(other.buffer) == data


def test_names_are_made_up_or_given(name: str) -> None:
    with shared.create(None, 1) as first, shared.create(None, 1) as second:
        assert first.name != second.name
    with shared.create(name, 1) as block:
        assert block.name == name
        with pytest.raises(UsageError, match=f"there is a shared block '{name}' already"):
            shared.create(name, 1)
        assert block.buffer[0] == 0, "it is left as it was"


# What goes wrong


def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(UsageError, match=f"no shared block '{name}': its owner has ended, or"):
        shared.attach(name)
    for wrong in ("", "a/b", "a\0b", "x" * 300):
        for call in (shared.attach, lambda wrong: shared.create(wrong, 1)):
            with pytest.raises(UsageError, match="shared block"):
                call(wrong)


@pytest.mark.parametrize("size", [0, -1, 1.5, "many", None])
def test_a_size_that_is_none(size: int) -> None:
    with pytest.raises(UsageError, match="no number of bytes"):
        shared.create(None, size)


def test_a_size_that_is_not_there(name: str) -> None:
    for size in (2**60, 2**80):
        with pytest.raises(UsageError, match="no room for"):
            shared.create(name, size)
    with pytest.raises(UsageError, match="no shared block"):
        shared.attach(name)


def test_sizes_that_do_not_fit(block: Shared) -> None:
    with pytest.raises(UsageError, match="has 921,600 bytes; 1,228,800 were expected"):
        shared.attach(block.name, 480 * 640 * 4)
    with pytest.raises(UsageError, match=r"takes 1,228,800 bytes, but .* has 921,600"):
        block.array((480, 640, 4))
    for shape in ((480, 640), (480, 640, 3, 2), (-1,), (-480, -640, 3)):
        with pytest.raises(UsageError, match="but the shared block"):
            block.array(shape)


@pytest.mark.parametrize("kind", ["picture", object, "(2,4)u1"])
def test_types_that_can_not_be_shared(block: Shared, kind: object) -> None:
    with pytest.raises(UsageError, match=r"no type of an array|can't be shared"):
        block.array((FRAME_BYTES // 8,), kind)


def test_without_numpy_the_extra_is_named(block: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(UsageError, match=r"pip install 'crawl-in-order\[arrays\]'"):
        block.array(FRAME)


@listable
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda old: b"", "is no shared block of crawl-in-order"),
        (lambda old: b"short", "is no shared block of crawl-in-order"),
        (lambda old: bytes(len(old)), "is no shared block of crawl-in-order"),
        (lambda old: old[:8] + b"\7" + old[9:], "has layout 7 and this is a version for layout 2"),
        (lambda old: old[:64], "is cut short"),
        (lambda old: old[:39] + b"\xff" + old[40:], "is cut short"),
    ],
)
def test_what_can_not_be_read_is_refused(
    block: Shared, name: str, change: Callable[[bytes], bytes], complaint: str
) -> None:
    path = SHM / f"{name}-changed"
    path.write_bytes(change((SHM / name).read_bytes()))
    try:
        with pytest.raises(UsageError, match=complaint):
            shared.attach(path.name)
    finally:
        path.unlink()


@listable
def test_no_room_is_an_error_and_leaves_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UsageError, match=r"no room for 100 bytes .* No space left"):
        shared.create(name, 100)
    assert not (SHM / name).exists()


# The end


@pytest.mark.parametrize(
    "end", ["block.close()", "pass", "raise SystemExit(3)", "os.kill(os.getpid(), signal.SIGINT)"]
)
def test_the_owner_removes_its_block_however_it_ends(name: str, end: str) -> None:
    code = f"""
        import os, signal, sys
        from crawler import shared
        sys.excepthook = lambda *_: None
        block = shared.create(sys.argv[1], 100)
        array = block.array(100)
        view = block.buffer[3:7]
        {end}
    """
    with program(code, name) as owner:
        assert owner.communicate() == ("", "")
    with pytest.raises(UsageError, match="no shared block"):
        shared.attach(name)


def make(name: str) -> None:
    shared.create(name, 100).array(100)[:] = 7


@listable
def test_a_worker_process_removes_its_blocks_when_the_pool_ends(name: str) -> None:
    pool = crawler.Pool(1)
    pool.apply(make, (name,))
    with shared.attach(name) as watcher:
        assert bytes(watcher.buffer[:2]) == b"\7\7"
        pool.close()
        pool.join()
        assert watcher.ended
        assert not (SHM / name).exists()


def test_arrays_outlive_the_block(name: str) -> None:
    block = shared.create(name, 100)
    array = block.array(100)
    array[:] = 3
    block.close()
    block.close()
    array[0] += 1
    assert array.sum() == 301
    with pytest.raises(UsageError, match=f"'{name}' is closed"):
        block.buffer  # noqa: B018
    with pytest.raises(UsageError, match=f"'{name}' is closed"):
        block.array(100)


def test_who_is_attached_keeps_the_memory_and_sees_that_it_ended(name: str) -> None:
    block = shared.create(name, 100)
    with shared.attach(name) as watcher:
        assert not watcher.ended
        block.buffer[0] = 7
        block.close()
        assert watcher.ended
        assert watcher.buffer[0] == 7
        with pytest.raises(UsageError, match="no shared block"):
            shared.attach(name)


def test_who_detaches_leaves_it(block: Shared) -> None:
    code = "import sys; from crawler import shared; shared.attach(sys.argv[1]).buffer[0] = 9"
    with program(code, block.name) as other:
        assert other.communicate() == ("", "")
    with shared.attach(block.name) as again:
        assert again.buffer[0] == 9
    assert not block.ended


def test_a_fork_of_the_owner_does_not_remove_it(name: str) -> None:
    code = """
        import os, sys
        from crawler import shared
        with shared.create(sys.argv[1], 100) as block:
            if os.fork() == 0:
                sys.exit()
            os.wait()
            print(shared.attach(sys.argv[1]).pid == os.getpid())
    """
    with program(code, name) as owner:
        assert owner.communicate() == ("True\n", "")


@listable
def test_a_killed_owners_block_is_refused_and_removed_by_the_next_create(
    killed_owner: subprocess.Popen[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_next_look", 0.0)  # that of another test may have been just now
    told = rf"left behind by process {killed_owner.pid}, which was|there is no shared block"
    with pytest.raises(UsageError, match=told):
        shared.attach(name)
    with shared.create(None, 1) as other:
        assert not (SHM / name).exists()
        assert (SHM / other.name).exists()


@listable
def test_a_killed_owners_name_can_be_taken_at_once(
    killed_owner: subprocess.Popen[str], name: str
) -> None:
    assert killed_owner.poll() in (None, -signal.SIGKILL)
    with shared.create(name, 5) as block:
        assert shared.attach(name).size == 5
        assert name in living()
        assert not block.ended


@listable
def test_many_that_are_created_are_not_all_looked_at_each_time(
    killed_owner: subprocess.Popen[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks = 1000.0, list[float]()

    def look() -> list[str]:
        nonlocal now
        looks.append(now)
        now += 1
        return []

    monkeypatch.setattr(shared, "_next_look", 0.0)
    monkeypatch.setattr(shared, "remove_stale", look)
    monkeypatch.setattr("time.monotonic", lambda: now)
    for _ in range(50):
        shared.create(None, 1).close()
        now += 1
    assert looks == [1000, 1021, 1042]
    killed_owner.wait()
    with shared.create(name, 5) as block:
        assert block.size == 5, "that of the same name is replaced all the same"
    assert looks == [1000, 1021, 1042]


@listable
def test_several_that_remove_what_is_stale_spare_what_is_new(name: str) -> None:
    """Between the look and the removal another may have removed it, and made a new one."""
    for _ in range(15):
        with program(OWNER, name) as owner:
            assert owner.stdout
            owner.stdout.readline()
            owner.kill()
        start = threading.Barrier(4)
        made: list[Shared] = []

        def make(start: threading.Barrier = start, made: list[Shared] = made) -> None:
            start.wait()
            try:
                made.append(shared.create(name, 10))
            except UsageError as error:
                assert "already" in str(error)  # noqa: PT017

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (block,) = made
        with shared.attach(name):
            block.close()


@listable
def test_it_is_stale_if_the_owners_number_was_given_to_another_process(block: Shared) -> None:
    with (SHM / block.name).open("r+b") as file:
        file.seek(24)  # when the owner started
        file.write((12345).to_bytes(8, sys.byteorder))
    with shared.attach(block.name, also_ended=True) as onlooker:
        assert onlooker.ended
    assert block.name in remove_stale()


def test_a_process_of_another_user_is_alive(block: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert block.owner_alive()


@listable
def test_what_others_keep_there_is_left_alone(name: str) -> None:
    for content in (b"something else that is as long as a header, and longer" * 2, bytes(4096)):
        path = SHM / name
        path.write_bytes(content)
        try:
            assert name not in remove_stale()
            assert name not in living()
        finally:
            path.unlink()


@listable
def test_one_that_is_being_made_is_stale_only_if_its_owner_is_gone() -> None:
    """Two that start together must not remove each other's half-made blocks."""
    alive = SHM / f"crawl-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    dead = SHM / f"crawl-{process.pid}-{uuid.uuid4().hex[:8]}"
    try:
        for path in (alive, dead):
            path.write_bytes(bytes(4096))
        removed = remove_stale()
        assert dead.name in removed
        assert alive.exists()
    finally:
        alive.unlink()
        dead.unlink(missing_ok=True)
