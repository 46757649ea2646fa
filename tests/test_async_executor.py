"""The event loop in a thread of its own: coroutine functions in, Futures out."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from crawler.errors import PageTimeoutError
from crawler.executors.aio import AsyncExecutor

SLOTS = 4
seat: ContextVar[int] = ContextVar("seat")


def sit_down(number: int) -> None:
    seat.set(number)


@pytest.fixture
def pool() -> Iterator[AsyncExecutor]:
    pool = AsyncExecutor(workers=None, slots=SLOTS, initializer=sit_down, initargs=())
    yield pool
    pool.shutdown(cancel_futures=True)


async def square(number: int) -> int:
    await asyncio.sleep(0)
    return number * number


async def wait_for(event: threading.Event) -> int:
    while not event.is_set():
        await asyncio.sleep(0.001)
    return seat.get()


async def block_until(event: threading.Event) -> None:
    event.wait(60)


def test_results_and_errors_come_back_through_futures(pool: AsyncExecutor) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    results = [pool.submit(square, number) for number in range(100)]
    error = pool.submit(fail)
    assert [future.result(20) for future in results] == [n * n for n in range(100)]
    with pytest.raises(ValueError, match="broken"):
        error.result(20)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_no_error_of_a_task_ends_the_loop(pool: AsyncExecutor, error: BaseException) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        pool.submit(fail).result(20)
    assert pool.submit(square, 3).result(20) == 9


def test_each_task_at_work_has_a_seat_of_its_own_and_others_wait(pool: AsyncExecutor) -> None:
    go = threading.Event()
    at_work = [pool.submit(wait_for, go) for _ in range(SLOTS)]
    waiting = pool.submit(square, 2)
    while not all(future.running() for future in at_work):
        time.sleep(0.001)
    assert not waiting.running()
    go.set()
    assert sorted(future.result(20) for future in at_work) == list(range(SLOTS))
    assert waiting.result(20) == 4


def test_an_initializer_that_fails_fails_every_task() -> None:
    def fail(number: int) -> None:
        raise OSError(f"no seat {number}")

    pool = AsyncExecutor(workers=None, slots=2, initializer=fail, initargs=())
    for _ in range(3):
        with pytest.raises(OSError, match="no seat 0"):
            pool.submit(square, 1).result(20)
    pool.shutdown()


def test_a_task_that_waits_for_too_long_is_cancelled_and_its_seat_is_free(
    pool: AsyncExecutor,
) -> None:
    never = threading.Event()
    late = [pool.submit(wait_for, never) for _ in range(SLOTS)]
    next_one = pool.submit(square, 5)
    for future in late:
        left = 0.05
        while not future.done():
            time.sleep(min(max(left, 0.001), 0.02))
            left = pool.abandon(future, 0.05)
    for future in late:
        with pytest.raises(PageTimeoutError, match=r"not finished after 0\.05 s"):
            future.result(0)
    assert next_one.result(20) == 25


def test_a_task_that_blocks_the_loop_is_left_behind_and_the_others_begin_anew(
    pool: AsyncExecutor,
) -> None:
    go, release = threading.Event(), threading.Event()
    others = [pool.submit(wait_for, go) for _ in range(SLOTS - 1)]
    blocking = pool.submit(block_until, release)
    waiting = pool.submit(square, 6)
    try:
        while not blocking.done():
            time.sleep(min(0.05, max(pool.abandon(blocking, 0.1), 0.001)))
        with pytest.raises(PageTimeoutError, match="left behind: only mode processes can stop it"):
            blocking.result(0)
        assert waiting.result(20) == 36
        go.set()
        assert len({future.result(20) for future in others}) == SLOTS - 1
    finally:
        release.set()


def test_what_was_done_just_before_the_loop_was_blocked_is_not_lost(pool: AsyncExecutor) -> None:
    async def do_at_once() -> str:
        return "done"

    go, free = threading.Event(), threading.Event()
    at_work = [pool.submit(block_until, go)]  # so that the next two begin in the same turn
    done, blocking = pool.submit(do_at_once), pool.submit(block_until, free)
    go.set()
    while not blocking.done():
        time.sleep(min(0.05, max(pool.abandon(blocking, 0.1), 0.001)))
    assert done.result(20) == "done"
    assert at_work[0].result(20) is None
    with pytest.raises(PageTimeoutError, match="left behind: only mode processes can stop it"):
        blocking.result(20)
    free.set()


def test_a_task_that_is_late_only_because_another_one_blocks_is_no_culprit(
    pool: AsyncExecutor,
) -> None:
    go, release = threading.Event(), threading.Event()
    patient = pool.submit(wait_for, go)
    while not patient.running():
        time.sleep(0.001)
    blocking = pool.submit(block_until, release)
    try:
        while not blocking.done():
            pool.abandon(patient, 0.1)
            time.sleep(min(0.05, max(pool.abandon(blocking, 0.1), 0.001)))
        assert not patient.done()
        go.set()
        assert patient.result(20) in range(SLOTS)
    finally:
        release.set()


def test_shutdown_waits_for_what_is_under_way() -> None:
    pool = AsyncExecutor(workers=None, slots=1, initializer=sit_down, initargs=())
    futures = [pool.submit(square, number) for number in range(10)]
    pool.shutdown()
    assert [future.result(0) for future in futures] == [n * n for n in range(10)]
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(square, 1)


def test_shutdown_gives_up_what_is_under_way_when_asked_to() -> None:
    others = set(threading.enumerate())  # a loop that is left behind ends when it can
    pool = AsyncExecutor(workers=None, slots=1, initializer=sit_down, initargs=())
    never = threading.Event()
    cleaned_up = threading.Event()

    async def wait_and_clean_up() -> None:
        try:
            await wait_for(never)
        finally:
            cleaned_up.set()

    at_work, waiting = pool.submit(wait_and_clean_up), pool.submit(square, 1)
    while not at_work.running():
        time.sleep(0.001)
    pool.shutdown(cancel_futures=True)
    assert cleaned_up.is_set()
    assert waiting.cancelled()
    left = set(threading.enumerate()) - others
    assert not [thread for thread in left if thread.name == "crawl-loop"]


def test_a_loop_that_is_blocked_for_ever_holds_nobody_up() -> None:
    pool = AsyncExecutor(workers=None, slots=1, initializer=sit_down, initargs=())
    release = threading.Event()
    blocking = pool.submit(block_until, release)
    while not blocking.running():
        time.sleep(0.001)
    try:
        pool.shutdown(cancel_futures=True)  # returns
    finally:
        release.set()
