from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import UsageError
from crawler.progress import (
    Block,
    RunState,
    SeatState,
    Totals,
    block_name,
    running,
)
from deadline import wait_until

SHM = Path("/dev/shm")
listable = pytest.mark.skipif(not SHM.is_dir(), reason="blocks can't be listed here")


@pytest.fixture
def name() -> str:
    return block_name(uuid.uuid4().hex[:12])


@pytest.fixture
def block(name: str) -> Iterator[Block]:
    with Block.create(name, seats=4, seats_per_worker=2) as block:
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


# What stands in a block


def test_the_engine_sets_some_counters_and_the_others_stay(block: Block) -> None:
    assert block.read().totals == Totals()
    block.engine.update(known=40, done=12)
    block.engine.update(done=13, deaths=1, state=RunState.STOPPED)
    assert block.read().totals == Totals(RunState.STOPPED, known=40, done=13, deaths=1)
    with pytest.raises(KeyError):
        block.engine.update(pages=1)


def test_a_seat_shows_what_it_does_and_has_done(block: Block) -> None:
    slot = block.seat(2)

    slot.fetching("https://example.org/1")
    seat = block.read().seats[2]
    assert (seat.state, seat.url) == (SeatState.FETCHING, "https://example.org/1")
    assert 0 <= seat.seconds < 10

    slot.parsing()
    seat = block.read().seats[2]
    assert (seat.state, seat.url) == (SeatState.SPIDER, "https://example.org/1")

    slot.done(items=3, body_bytes=1000, failed=False)
    slot.done(items=0, body_bytes=20, failed=True)
    seat = block.read().seats[2]
    assert (seat.state, seat.url) == (SeatState.IDLE, "")
    assert (seat.pages, seat.items, seat.bytes, seat.failed) == (1, 3, 1020, 1)

    assert [other.pages for other in block.read().seats] == [0, 0, 1, 0]


def test_seats_are_labelled_by_process_and_thread(block: Block) -> None:
    assert [seat.label for seat in block.read().seats] == ["1.1", "1.2", "2.1", "2.2"]
    with Block.create(block_name("flat"), seats=3) as flat:
        assert [seat.label for seat in flat.read().seats] == ["1", "2", "3"]
    with pytest.raises(IndexError):
        block.seat(4)


def test_a_snapshot_tells_whose_run_it_is_and_since_when(block: Block) -> None:
    snapshot = block.read()
    assert (snapshot.name, snapshot.pid) == (block.name, os.getpid())
    assert abs(time.time() - snapshot.started - snapshot.elapsed) < 1
    assert block.owner_alive()


@given(st.text())
def test_a_url_is_cut_to_200_bytes_between_characters(url: str) -> None:
    encoded = url.encode("utf-8", "replace")
    with Block.create(block_name("urls"), seats=1) as block:
        block.seat(0).fetching(url)
        shown = block.read().seats[0].url
    assert encoded.startswith(shown.encode())
    if len(encoded) <= 200 and not url.endswith("\0"):
        assert shown.encode() == encoded


def test_whoever_replaces_a_worker_goes_on_counting(block: Block) -> None:
    dead = block.seat(0)
    dead.done(items=1, body_bytes=1, failed=False)
    dead.fetching("https://example.org/killer")
    heir = block.seat(0)
    assert block.read().seats[0].state is SeatState.IDLE
    heir.done(items=1, body_bytes=1, failed=False)
    assert block.read().seats[0].pages == 2


@listable
def test_a_seat_whose_worker_died_while_writing_is_idle(block: Block) -> None:
    block.seat(3).fetching("https://example.org/whole")
    with (SHM / block.name).open("r+b") as file:
        file.seek(file.read().index(b"whole"))
        file.write(b"torn!")
    seat = block.read().seats[3]
    assert (seat.state, seat.url) == (SeatState.IDLE, "")
    block.seat(3).fetching("https://example.org/again")
    assert block.read().seats[3].url == "https://example.org/again"


# Several processes


def crawl_pages(block: Block, index: int) -> None:
    seat = block.seat(index)
    for page in range(1000):
        seat.fetching(f"https://example.org/{page}")
        seat.parsing()
        seat.done(items=2, body_bytes=index, failed=page % 10 == 0)


@pytest.mark.parametrize(
    "context", [multiprocessing.get_context("spawn"), multiprocessing.get_context("forkserver")]
)
def test_counters_of_other_processes_are_seen(
    block: Block, context: SpawnContext | ForkServerContext
) -> None:
    workers = [context.Process(target=crawl_pages, args=(block, index)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    for index, seat in enumerate(block.read().seats):
        counted = seat.pages, seat.failed, seat.items, seat.bytes
        assert counted == (900, 100, 2000, 1000 * index)


def alternate(block: Block, stop: Event) -> None:
    seat = block.seat(0)
    while not stop.is_set():
        for letter in "abcdefgh":
            seat.fetching(letter * (25 * (1 + ord(letter) % 8)))
            seat.done(items=0, body_bytes=0, failed=False)


def test_no_reader_sees_a_torn_url(block: Block) -> None:
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    worker = context.Process(target=alternate, args=(block, stop))
    worker.start()
    try:
        wait_until(lambda: block.read().seats[0].pages)
        urls = {block.read().seats[0].url for _ in range(20_000)}
        pages = block.read().seats[0].pages
        wait_until(lambda: block.read().seats[0].pages > pages)  # it was at work all the time
    finally:
        stop.set()
        worker.join()
    assert urls <= {letter * (25 * (1 + ord(letter) % 8)) for letter in "abcdefgh"} | {""}
    assert len(urls) > 1


def test_a_killed_worker_leaves_the_block_and_no_warnings(name: str, tmp_path: Path) -> None:
    script = tmp_path / "killed_worker.py"
    script.write_text(
        textwrap.dedent("""
            import multiprocessing, os, signal, sys
            from crawler.progress import Block

            def work(block):
                block.seat(0).done(items=1, body_bytes=1, failed=False)
                os.kill(os.getpid(), signal.SIGKILL)

            if __name__ == "__main__":
                with Block.create(sys.argv[1], seats=1) as block:
                    for method in ("spawn", "forkserver"):
                        context = multiprocessing.get_context(method)
                        worker = context.Process(target=work, args=(block,))
                        worker.start()
                        worker.join()
                        print(worker.exitcode)
                    print(Block.attach(sys.argv[1]).read().seats[0].pages)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script), name], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("-9\n-9\n2\n", "")


def test_an_onlooker_leaves_the_block_and_no_warnings(block: Block) -> None:
    block.engine.update(done=7)
    code = """
        import sys
        from crawler.progress import Block
        print(Block.attach(sys.argv[1]).read().totals.done)
    """
    with program(code, block.name) as onlooker:
        assert onlooker.communicate() == ("7\n", "")
    with Block.attach(block.name) as again:
        assert again.read().totals.done == 7
    assert block.name in running() or not SHM.is_dir()


# The end of a block


@pytest.mark.parametrize(
    "end", ["block.close()", "pass", "raise SystemExit(3)", "os.kill(os.getpid(), signal.SIGINT)"]
)
def test_the_owner_removes_its_block_however_it_ends(name: str, end: str) -> None:
    code = f"""
        import os, signal, sys
        from crawler.progress import Block
        sys.excepthook = lambda *_: None
        block = Block.create(sys.argv[1], seats=1)
        slot = block.seat(0)
        {end}
    """
    with program(code, name) as owner:
        assert owner.communicate() == ("", "")
    with pytest.raises(UsageError, match=f"no crawl is running under the name '{name}'"):
        Block.attach(name)


def test_an_onlooker_learns_that_a_run_ended_without_a_word(name: str) -> None:
    block = Block.create(name, seats=1)
    with Block.attach(name) as onlooker:
        block.close()
        assert onlooker.read().totals.state is RunState.FAILED


def test_a_worker_that_outlives_the_block_writes_to_nowhere(name: str) -> None:
    block = Block.create(name, seats=1)
    slot = block.seat(0)
    block.close()
    block.close()
    slot.fetching("https://example.org/")
    slot.done(items=1, body_bytes=1, failed=False)
    block.engine.update(done=1)


# What can't be read


@listable
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda old: b"", "no crawl is running under the name"),
        (lambda old: old[:64] + bytes(len(old) - 64), "is not the progress of a crawl"),
        (
            lambda old: old[:72] + b"\7" + old[73:],
            "has layout 7 and this is a version for layout 2",
        ),
        (
            lambda old: old[:32] + (64).to_bytes(8, sys.byteorder) + old[40:128],
            "is cut short",
        ),
    ],
)
def test_what_can_not_be_read_is_refused(
    block: Block, name: str, change: Callable[[bytes], bytes], complaint: str
) -> None:
    path = SHM / f"{name}-changed"
    path.write_bytes(change((SHM / block.name).read_bytes()))
    try:
        with pytest.raises(UsageError, match=complaint):
            Block.attach(path.name)
    finally:
        path.unlink()


@pytest.mark.parametrize("wrong", ["crawl-1-no-such-run", "", "a/b", "a\0b"])
def test_a_wrong_name_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError):
        Block.attach(wrong)


# Names


def test_a_block_is_named_after_its_process_and_run() -> None:
    assert block_name("quotes-7") == f"crawl-{os.getpid()}-quotes-7"


@given(st.text())
def test_any_run_id_makes_a_name_that_every_system_takes(run_id: str) -> None:
    name = block_name(run_id)
    assert name.startswith(f"crawl-{os.getpid()}-")
    assert len(f"/{name}") <= 31
    assert name.isascii()
    assert "/" not in name
