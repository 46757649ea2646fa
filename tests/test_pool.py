"""Pool and ThreadPool beside multiprocessing's: the same answers to the same calls."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import multiprocessing.pool
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crawler
import mapped
from crawler.errors import UsageError, WorkerDiedError
from deadline import wait_until
from leftovers import watch
from programs import run_python

OURS = {"threads": crawler.ThreadPool, "processes": crawler.Pool}


def theirs(kind: str, workers: int = 3) -> Any:
    if kind == "threads":
        return multiprocessing.pool.ThreadPool(workers)
    return multiprocessing.get_context("spawn").Pool(workers)


@contextmanager
def both(kind: str) -> Iterator[list[Any]]:
    with OURS[kind](3) as ours, theirs(kind) as their:
        yield [ours, their]


@pytest.fixture(scope="module", params=OURS)
def pools(request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """Ours, and multiprocessing's, that all tests of a kind share."""
    with both(request.param) as made:
        yield made


def outcome(call: Callable[[Any], Any], pool: Any) -> Any:
    """What a call gives or raises, in a form to be compared."""
    try:
        return call(pool)
    except Exception as error:  # noqa: BLE001
        return type(error), str(error)


pairs = [(1, 1), (2, 1), (3, 1)]
CALLS: dict[str, Callable[[Any], Any]] = {
    "map": lambda pool: pool.map(mapped.increase, range(100)),
    "map of nothing": lambda pool: pool.map(mapped.increase, []),
    "map of a generator": lambda pool: pool.map(mapped.increase, (n for n in range(7))),
    "map in chunks": lambda pool: pool.map(mapped.increase, range(10), chunksize=4),
    "map of a partial": lambda pool: pool.map(partial(mapped.add, b=1), [1, 2, 3]),
    "map that raises": lambda pool: pool.map(mapped.reciprocal, [1, 0, 2]),
    "map without inputs": lambda pool: pool.map(mapped.increase),
    "map of no iterable": lambda pool: pool.map(mapped.increase, 5),
    "starmap": lambda pool: pool.starmap(mapped.add, pairs),
    "starmap with lists": lambda pool: pool.starmap(mapped.increase, [[1], [2]]),
    "starmap with zip": lambda pool: pool.starmap(mapped.add, zip([1, 2], [1, 1], strict=True)),
    "starmap of nothing": lambda pool: pool.starmap(mapped.add, []),
    "starmap, too many": lambda pool: pool.starmap(mapped.increase, [(1, 2)]),
    "imap": lambda pool: list(pool.imap(mapped.increase, range(20))),
    "imap in chunks": lambda pool: list(pool.imap(mapped.increase, range(20), 3)),
    "imap of nothing": lambda pool: list(pool.imap(mapped.increase, [])),
    "imap, bad chunks": lambda pool: pool.imap(mapped.increase, [1], chunksize=0),
    "imap that raises": lambda pool: list(pool.imap(mapped.fail_on_odd, [2, 4, 5])),
    "imap_unordered": lambda pool: sorted(pool.imap_unordered(mapped.increase, range(20))),
    "apply": lambda pool: pool.apply(mapped.add, (3,), {"b": 4}),
    "apply that raises": lambda pool: pool.apply(mapped.reciprocal, [0]),
    "apply_async": lambda pool: pool.apply_async(mapped.add, (3, 4)).get(20),
    "map_async": lambda pool: pool.map_async(mapped.increase, range(5)).get(20),
    "starmap_async": lambda pool: pool.starmap_async(mapped.add, pairs).get(20),
    "a late result": lambda pool: pool.apply_async(mapped.nap, (0.3,)).get(0.01),
    "a late imap": lambda pool: pool.imap(mapped.nap, [0.3]).next(0.01),
    "join too early": lambda pool: pool.join(),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_same_answer_to_the_same_call(name: str, pools: list[Any]) -> None:
    ours, their = (outcome(CALLS[name], pool) for pool in pools)
    if isinstance(their, tuple) and their[0] is TypeError and "positional" in their[1]:
        assert ours[0] is TypeError  # the same complaint about another class
    else:
        assert ours == their


def test_it_goes_on_after_an_exception_of_imap(pools: list[Any]) -> None:
    def walk(pool: Any) -> list[Any]:
        results, found = pool.imap(mapped.fail_on_odd, range(4)), []
        for _ in range(5):
            try:
                found.append(next(results))
            except (ValueError, StopIteration) as error:
                found.append(type(error))
        return found

    ours, their = (walk(pool) for pool in pools)
    assert ours == their == [0, ValueError, 2, ValueError, StopIteration]


def test_callbacks_get_the_result_or_the_error(pools: list[Any]) -> None:
    def called(pool: Any) -> list[Any]:
        got: list[Any] = []
        keep = {"callback": got.append, "error_callback": lambda error: got.append(repr(error))}
        pool.apply_async(mapped.add, (1, 2), **keep).wait(20)
        pool.apply_async(mapped.reciprocal, (0,), **keep).wait(20)
        pool.map_async(mapped.increase, range(3), **keep).wait(20)
        pool.starmap_async(mapped.add, [(1, 2)], **keep).wait(20)
        return got

    ours, their = (called(pool) for pool in pools)
    assert ours == their == [3, repr(ZeroDivisionError("division by zero")), [1, 2, 3], [3]]


class Watched:
    """Counts how many call it at once, and who does."""

    def __init__(self) -> None:
        self.inside = self.most = self.calls = 0
        self.threads: set[int] = set()

    def __call__(self, _: object) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.threads.add(threading.get_ident())
        time.sleep(0.001)
        self.calls += 1
        self.inside -= 1


def test_callbacks_are_called_by_one_thread_one_after_the_other(pools: list[Any]) -> None:
    for pool in pools:
        watched = Watched()
        given: list[Any] = []
        for number in range(20):
            given.append(pool.apply_async(mapped.reciprocal, (number,), {}, watched, watched))
            given.append(pool.map_async(mapped.reciprocal, range(number, 9), 2, watched, watched))
        given.append(pool.starmap_async(mapped.add, pairs, 1, watched, watched))
        for result in given:
            result.wait(20)
        assert watched.most == len(watched.threads) == 1
        assert threading.get_ident() not in watched.threads


def test_a_callback_may_take_a_lock_that_the_submitter_holds(pools: list[Any]) -> None:
    for pool in pools:
        lock, got = threading.Lock(), list[Any]()

        def keep(result: Any, lock: Any = lock, got: list[Any] = got) -> None:
            with lock:
                got.append(result)

        with lock:
            given = [pool.apply_async(mapped.add, (n,), callback=keep) for n in range(9)]
            # What can't be sent fails as it is given.
            given.append(pool.apply_async(mapped.add, (lock, 1), error_callback=keep))
            time.sleep(0.05)
            assert not got
            assert not given[0].ready(), "it is when its callback was called"
        for result in given:
            result.wait(20)
        assert len(got) == 10


@pytest.mark.parametrize("kind", OURS)
def test_a_callback_that_raises_is_logged_and_costs_no_other(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[int] = []
    with OURS[kind](1) as pool:
        bad = pool.apply_async(mapped.increase, (1,), callback=lambda _: 1 / 0)
        assert bad.get(20) == 2
        assert pool.apply_async(mapped.increase, (2,), callback=got.append).get(20) == 3
    assert got == [3]
    assert "division by zero" in caplog.text


@pytest.mark.parametrize("end", ["close", "terminate", "forget"])
@pytest.mark.parametrize("kind", OURS)
def test_the_thread_of_the_callbacks_ends_with_the_pool(kind: str, end: str) -> None:
    nothing_is_left = watch()
    pool, got = OURS[kind](2), list[int]()
    pool.apply_async(mapped.increase, (1,), callback=got.append).get(20)
    later = pool.apply_async(mapped.increase, (2,), callback=got.append)
    if end == "close":
        pool.close()
        later.get(20)
        pool.join()
        assert got == [2, 3]
    elif end == "terminate":
        pool.terminate()
    del pool, later
    wait_until(nothing_is_left)


def test_callbacks_that_were_not_called_by_the_end_of_the_pool_are_not_called() -> None:
    release, begun, got = threading.Event(), threading.Event(), list[int]()

    def block(_: int) -> None:
        begun.set()
        release.wait(20)

    pool = crawler.ThreadPool(1)
    pool.apply_async(mapped.increase, (1,), callback=block)
    begun.wait(20)
    done = pool.apply_async(mapped.increase, (2,))
    called = pool.apply_async(mapped.increase, (3,), callback=got.append)
    assert done.get(20) == 3, "it has no callback to wait for"
    pool.terminate()
    release.set()
    pool.join()
    called.wait(20)
    assert called.ready()
    assert got == []


def test_ready_and_successful(pools: list[Any]) -> None:
    for pool in pools:
        slow = pool.apply_async(mapped.nap, (0.3,))
        assert not slow.ready()
        with pytest.raises(ValueError, match="not ready"):
            slow.successful()
        slow.wait(20)
        assert slow.ready()
        assert slow.successful()
        bad = pool.apply_async(mapped.reciprocal, (0,))
        bad.wait(20)
        assert not bad.successful()


@settings(max_examples=40)
@given(st.lists(st.integers()), st.none() | st.integers(1, 9))
def test_any_list_in_any_chunks(numbers: list[int], chunksize: int | None) -> None:
    with crawler.ThreadPool(3) as pool:
        expected = [number + 1 for number in numbers]
        assert pool.map(mapped.increase, numbers, chunksize) == expected
        assert list(pool.imap(mapped.increase, numbers, chunksize or 1)) == expected


@pytest.mark.parametrize("kind", OURS)
def test_closed_and_joined_it_has_done_all_and_takes_no_more(kind: str) -> None:
    nothing_is_left = watch()
    for pool in (OURS[kind](2), theirs(kind)):
        finished: list[int] = []
        for number in range(10):
            pool.apply_async(mapped.increase, (number,), callback=finished.append)
        results = pool.imap(mapped.increase, range(500))
        forgotten = pool.imap_unordered(mapped.increase, range(500))
        del forgotten
        pool.close()
        pool.join()
        pool.join()
        assert sorted(finished) == list(range(1, 11))
        assert list(results) == list(range(1, 501))
        for call in (pool.map, pool.imap, pool.map_async):
            with pytest.raises(ValueError, match="Pool not running"):
                call(mapped.increase, [1])
        with pytest.raises(ValueError, match="Pool not running"), pool:
            pass
    wait_until(nothing_is_left)


@pytest.mark.parametrize("kind", OURS)
def test_the_end_of_the_block_ends_all(kind: str, tmp_path: Path) -> None:
    nothing_is_left = watch()
    started = time.monotonic()
    with OURS[kind](2) as pool:
        running = pool.map_async(partial(mapped.tell_pid_and_wait, str(tmp_path)), range(8))
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    assert time.monotonic() - started < 15
    (tmp_path / "go").touch()
    pool.join()
    with pytest.raises(CancelledError, match="shut down"):
        running.get(20)
    assert len(list(tmp_path.iterdir())) == 3, "nothing more was begun"
    wait_until(nothing_is_left)


@pytest.mark.parametrize("kind", OURS)
def test_a_pool_that_nobody_keeps(kind: str) -> None:
    """As the shortest scripts have it: `Pool(2).map(...)`, and nothing after it."""
    nothing_is_left = watch()
    assert OURS[kind](2).map(mapped.increase, range(5)) == [1, 2, 3, 4, 5]
    assert OURS[kind](2).apply_async(mapped.increase, (1,)).get(20) == 2
    wait_until(nothing_is_left)


@pytest.mark.parametrize("kind", OURS)
def test_an_initializer_sets_up_each_worker(kind: str) -> None:
    with OURS[kind](2, mapped.keep, (1, "two")) as pool:
        assert pool.map(mapped.kept, range(4)) == [[1, "two"]] * 4


def test_a_lock_reaches_the_worker_processes_as_an_initial_argument() -> None:
    lock = multiprocessing.get_context("spawn").Lock()
    with crawler.Pool(1, mapped.keep, (lock,)) as pool:
        ((kept,),) = pool.map(str_of_kept, [0])
    assert "Lock" in kept


def test_initial_arguments_may_be_defined_in_the_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from crawler import Pool\n"
        "class Config: name = 'one'\n"
        "def double(n): return 2 * n\n"
        "kept = []\n"
        "def begin(config, function): kept[:] = config, function\n"
        "def work(n): return type(kept[0]) is Config, kept[0].name, kept[1](n)\n"
        "config = Config()\n"
        "config.name = 'two'\n"
        "with Pool(1, begin, (config, double)) as pool:\n"
        "    print(pool.map(work, [1, 2]))\n"
    )
    done = run_python("script.py", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("[(True, 'two', 2), (True, 'two', 4)]\n", "")


@pytest.mark.parametrize(
    "argument", [lambda: 1, threading.Lock(), multiprocessing.get_context("fork").Lock()]
)
def test_initial_arguments_that_can_not_travel_are_refused_at_once(argument: object) -> None:
    nothing_is_left = watch()
    with crawler.Pool(1, mapped.keep, (argument,)) as pool:
        with pytest.raises(UsageError, match="initargs: they can't be sent to another process"):
            pool.apply_async(mapped.increase, (1,))
        assert nothing_is_left()


def test_a_pipe_reaches_the_worker_processes_as_an_initial_argument() -> None:
    ours, theirs = multiprocessing.Pipe()
    with crawler.Pool(1, mapped.keep, (theirs,)) as pool:
        assert pool.apply(mapped.answer_through_kept, (5,)) is None
        assert ours.recv() == 5


def str_of_kept(_: object) -> list[str]:
    return [type(value).__name__ for value in mapped.kept(_)]


def test_a_killed_worker_costs_its_call_only() -> None:
    with crawler.Pool(2) as pool:
        with pytest.raises(WorkerDiedError) as caught:
            pool.map(mapped.kill_on_three, range(20), chunksize=5)
        assert caught.value.__notes__ == ["input 3: 3"]
        results = pool.imap(mapped.kill_on_three, range(8), chunksize=4)
        assert list(itertools.islice(results, 3)) == [0, 1, 2]
        with pytest.raises(WorkerDiedError):
            next(results)
        assert list(results) == [4, 5, 6, 7]
        assert pool.map(mapped.increase, range(5)) == [1, 2, 3, 4, 5]


def test_a_worker_killed_from_outside_costs_nothing(tmp_path: Path) -> None:
    with crawler.Pool(2) as pool:
        work = partial(mapped.tell_pid_and_wait, str(tmp_path))
        results = pool.map_async(work, range(4), chunksize=1)
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        os.kill(int(next(tmp_path.iterdir()).suffix[1:]), signal.SIGKILL)
        wait_until(lambda: len(list(tmp_path.iterdir())) == 3)
        (tmp_path / "go").touch()
        assert results.get(20) == [0, 1, 2, 3]


def test_calls_run_at_once_and_in_other_processes() -> None:
    with crawler.Pool(2) as pool:
        pids = set(pool.map(mapped.pid, range(50), chunksize=1))
        assert os.getpid() not in pids
        assert 1 <= len(pids) <= 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_an_endless_iterable_is_taken_as_the_results_are() -> None:
    pulled = itertools.count()
    with crawler.ThreadPool(2) as pool:
        assert list(itertools.islice(pool.imap(mapped.increase, pulled), 5)) == [1, 2, 3, 4, 5]
    assert next(pulled) < 100


def test_a_pool_inside_a_pool() -> None:
    with crawler.ThreadPool(3) as pool:

        def inside(number: int) -> list[int]:
            with crawler.ThreadPool(2) as inner:
                return inner.map(mapped.increase, range(number))

        assert pool.map(inside, range(3)) == [[], [1], [1, 2]]
        assert pool.map(partial(mapped.map_inside, "threads"), range(3)) == [[], [1], [1, 2]]


def test_from_several_threads_at_once() -> None:
    with crawler.Pool(2) as pool:
        answers: dict[int, list[int]] = {}

        def ask(number: int) -> None:
            answers[number] = pool.map(partial(mapped.add, b=number), range(20))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {n: [k + n for k in range(20)] for n in range(4)}


def test_the_time_to_wait_for_a_result_holds_also_while_another_thread_waits() -> None:
    release = threading.Event()
    with crawler.ThreadPool(1) as pool:
        results = pool.imap(release.wait, [20])
        other = threading.Thread(target=results.next)
        other.start()
        with pytest.raises(multiprocessing.TimeoutError):
            results.next(0.01)
        assert other.is_alive()
        release.set()
        other.join()


def test_what_makes_no_pool() -> None:
    for pool in OURS.values():
        with pytest.raises(ValueError, match="at least 1"):
            pool(0)
        with pytest.raises(TypeError, match="callable"):
            pool(1, initializer=5)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="maxtasksperchild"):
            pool(1, maxtasksperchild=5)
    with crawler.Pool(1) as processes, pytest.raises(UsageError, match="use threads"):
        processes.map(lambda number: number, [1])


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", OURS)
def test_one_that_was_refused_ends_without_a_complaint(kind: str) -> None:
    with pytest.raises(TypeError):
        OURS[kind](1, workers=2)  # type: ignore[call-arg]
    gc.collect()
    assert OURS[kind](1, context=multiprocessing.get_context("spawn")).map(abs, [-1]) == [1]


@pytest.mark.parametrize("kind", OURS)
def test_a_callback_may_end_the_pool(kind: str) -> None:
    """It is called by one of the threads that the pool waits for otherwise."""
    nothing_is_left = watch()
    pool = OURS[kind](2)
    ended: list[int] = []

    def end(result: int) -> None:
        pool.terminate()
        ended.append(result)

    pool.apply_async(mapped.increase, (1,), callback=end).wait(20)
    assert ended == [2]
    pool.join()
    wait_until(nothing_is_left)
