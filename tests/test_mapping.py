"""crawler.map and starmap: like Python's own, with several at work at once, and lazy."""

from __future__ import annotations

import gc
import itertools
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import tenacity
from hypothesis import given, settings
from hypothesis import strategies as st

import crawler
import mapped
from crawler import RetryPolicy
from crawler.errors import PageTimeoutError, Retry, SpiderImportError, UsageError, WorkerDiedError
from crawler.lazy import AHEAD
from deadline import wait_until
from leftovers import watch
from programs import run_python

MODES = ["threads", "processes", "sequential"]
AT_ONCE = ["threads", "processes"]
AT_ONCE_AGAIN = RetryPolicy(wait=tenacity.wait_fixed(0))


# What it gives


@pytest.mark.parametrize("mode", MODES)
def test_results_are_those_of_pythons_own_map(mode: str) -> None:
    assert list(crawler.map(mapped.increase, range(50), mode=mode)) == list(range(1, 51))
    assert list(crawler.map(mapped.increase, [], mode=mode)) == []
    pairs = [range(5), [10, 20, 30]]  # as far as the shortest goes
    assert list(crawler.map(mapped.add, *pairs, mode=mode)) == list(map(mapped.add, *pairs))


@pytest.mark.parametrize("mode", MODES)
def test_the_usual_ways_of_passing_arguments(mode: str) -> None:
    starmap = partial(crawler.starmap, mode=mode)
    assert list(starmap(mapped.add, [(1, 1), (2, 1), (3, 1)])) == [2, 3, 4]
    assert list(starmap(mapped.add, zip([1, 2, 3], itertools.repeat(1), strict=False))) == [2, 3, 4]
    assert list(starmap(mapped.increase, [[1], [2]])) == [2, 3]
    assert list(crawler.map(partial(mapped.add, b=2), [1, 2, 3], mode=mode)) == [3, 4, 5]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("function", "inputs", "expected"),
    [
        (math.sqrt, [0, 4], [0.0, 2.0]),
        (str.upper, ["a"], ["A"]),
        ("-".join, ["ab"], ["a-b"]),
        (mapped.Counter(5).add, [1], [6]),
        (int, ["7"], [7]),
    ],
)
def test_any_callable_that_has_a_name(
    mode: str, function: Any, inputs: list[Any], expected: list[Any]
) -> None:
    assert list(crawler.map(function, inputs, mode=mode)) == expected


@settings(max_examples=60)
@given(
    st.lists(st.integers()),
    st.sampled_from(["threads", "threads", "threads", "sequential"]),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_any_list_keeps_its_order(numbers: list[int], mode: str, workers: int, random: Any) -> None:
    delays = [random.random() / 2000 for _ in numbers]

    def slow(number: int, delay: float) -> int:
        time.sleep(delay)
        return number * 2

    given_back = list(crawler.map(slow, numbers, delays, mode=mode, workers=workers))
    assert given_back == [number * 2 for number in numbers]
    in_any_order = crawler.map(slow, numbers, delays, mode=mode, workers=workers, ordered=False)
    assert sorted(in_any_order) == sorted(given_back)


@settings(max_examples=5)
@given(st.lists(st.text() | st.integers() | st.none(), max_size=30))
def test_any_list_keeps_its_order_in_processes(values: list[Any]) -> None:
    assert list(crawler.map(repr, values, mode="processes", workers=2)) == [*map(repr, values)]


def test_without_order_the_quick_ones_come_first() -> None:
    release = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            release.wait(20)
        return number

    results = crawler.map(work, range(10), ordered=False)
    first = [next(results) for _ in range(9)]
    release.set()
    assert sorted(first) == list(range(1, 10))
    assert list(results) == [0]


def test_an_early_slow_one_holds_nobody_back_but_the_results() -> None:
    done: list[int] = []
    release = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            release.wait(20)
        done.append(number)
        return number

    def let_go() -> None:
        wait_until(lambda: len(done) == 2 * AHEAD - 1)
        release.set()

    with crawler.map(work, range(1000), workers=2) as results:
        threading.Thread(target=let_go).start()
        assert list(itertools.islice(results, 40)) == list(range(40))


# Lazy at both ends


@pytest.mark.parametrize("mode", MODES)
def test_an_endless_generator_is_pulled_no_further_than_needed(mode: str) -> None:
    pulled = 0

    def endless() -> Iterator[int]:
        nonlocal pulled
        for number in itertools.count():
            pulled += 1
            yield number

    with crawler.map(mapped.increase, endless(), mode=mode, workers=2) as results:
        assert pulled == 0, "nothing is asked for yet"
        for taken, result in enumerate(itertools.islice(results, 200), 1):
            assert result == taken
            assert pulled <= taken + 2 * AHEAD
    if mode == "sequential":
        assert pulled == 200


def test_a_hundred_thousand_inputs_are_never_there_at_once() -> None:
    alive = most = 0

    class Input:
        def __init__(self) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    inputs = (Input() for _ in range(100_000))
    assert sum(1 for _ in crawler.map(lambda given: given is not None, inputs)) == 100_000
    assert most <= 4 * AHEAD + 10


def test_slow_inputs_do_not_hold_up_the_results_that_are_there() -> None:
    asked = 0

    def inputs() -> Iterator[int]:
        nonlocal asked
        for number in range(50):
            asked += 1
            time.sleep(0.02)
            yield number

    results = crawler.map(mapped.increase, inputs())
    assert next(results) == 1
    assert asked < 10


def test_what_the_inputs_raise_comes_after_the_results_before_it() -> None:
    def inputs() -> Iterator[int]:
        yield from range(5)
        raise OSError("the file ends here")

    given_back = []
    with pytest.raises(OSError, match="ends here"):  # noqa: PT012
        for result in crawler.map(mapped.increase, inputs(), on_error="skip"):
            given_back.append(result)
    assert given_back == [1, 2, 3, 4, 5]


# Several threads that take from one


def ask_in_threads(take: Callable[[], Any], number: int = 8) -> Callable[[], bool]:
    """A condition: all of them are done."""
    threads = [threading.Thread(target=take, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    return lambda: not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_each_of_several_threads_gets_other_results(mode: str, ordered: bool) -> None:
    results = crawler.map(mapped.increase, range(3000), mode=mode, ordered=ordered)
    got: list[int] = []
    wait_until(ask_in_threads(lambda: got.extend(results)))
    assert sorted(got) == list(range(1, 3001))


def test_what_the_inputs_raise_is_heard_of_once() -> None:
    def inputs() -> Iterator[int]:
        yield from range(100)
        raise OSError("no more")

    results = crawler.map(mapped.increase, inputs())
    errors: list[str] = []

    def take() -> None:
        try:
            list(results)
        except OSError as error:
            errors.append(str(error))

    wait_until(ask_in_threads(take))
    assert errors == ["no more"]


@pytest.mark.parametrize("is_pools", [True, False])
def test_one_thread_ends_what_the_others_wait_for(is_pools: bool) -> None:
    release, begun = threading.Event(), threading.Event()

    def work(_: int) -> None:
        begun.set()
        release.wait(20)

    with crawler.ThreadPool(2) as pool:
        results = pool.imap(work, range(9))._results if is_pools else crawler.map(work, range(9))
        are_done = ask_in_threads(lambda: list(results))
        begun.wait(20)
        results.close()
        wait_until(are_done)
        release.set()


# Errors


@pytest.mark.parametrize("mode", MODES)
def test_an_exception_is_raised_at_its_place_with_its_input(mode: str) -> None:
    results = crawler.map(mapped.reciprocal, [2, 1, 0, 4], mode=mode)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert caught.value.__notes__[-1] == "input 2: 0"
    assert list(results) == [], "it is over, as with a generator that raised"


@pytest.mark.parametrize("mode", MODES)
def test_stop_iteration_in_a_function_does_not_pass_for_the_end(mode: str) -> None:
    results = crawler.map(mapped.stop_on_two, range(5), mode=mode)
    got = [next(results), next(results)]
    with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
        next(results)
    assert got == [0, 1]
    assert isinstance(caught.value.__cause__, StopIteration)
    assert "input 2: 2" in caught.value.__notes__
    with crawler.ThreadPool(1) as pool, pytest.raises(RuntimeError, match="StopIteration"):
        list(pool.imap(mapped.stop_on_two, range(5)))


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_in_the_place_of_results_or_left_out(mode: str) -> None:
    inputs = range(5)
    returned = list(crawler.map(mapped.fail_on_odd, inputs, mode=mode, on_error="return"))
    assert [type(r) for r in returned] == [int, ValueError, int, ValueError, int]
    assert [str(r) for r in returned] == ["0", "1 is odd", "2", "3 is odd", "4"]
    assert list(crawler.map(mapped.fail_on_odd, inputs, mode=mode, on_error="skip")) == [0, 2, 4]


@pytest.mark.parametrize("mode", MODES)
def test_inputs_may_be_handed_out_in_chunks(mode: str) -> None:
    """Each has an end of its own, as when it is handed out alone."""
    inputs = range(50)
    alone = list(crawler.map(mapped.fail_on_odd, inputs, mode=mode, on_error="return"))
    results = crawler.map(mapped.fail_on_odd, inputs, mode=mode, on_error="return", chunksize=7)
    assert list(map(repr, results)) == list(map(repr, alone))


def test_skipped_ones_make_room_for_others() -> None:
    given_back = crawler.map(mapped.fail_on_odd, [1] * 1000 + [2], on_error="skip")
    assert list(given_back) == [2]


def test_the_traceback_of_a_worker_process_comes_along() -> None:
    with pytest.raises(ValueError, match="odd") as caught:
        list(crawler.map(mapped.fail_on_odd, [1], mode="processes"))
    assert "in fail_on_odd\n    raise ValueError" in caught.value.__notes__[0]


def test_what_can_not_travel_back_is_told_as_text() -> None:
    for function in (mapped.raise_two_part, mapped.give_lambda):
        (error,) = crawler.map(function, [1], mode="processes", on_error="return")
        assert isinstance(error, RuntimeError)
        assert "can't travel" in str(error)


def test_a_result_that_can_not_be_unpacked_costs_no_other_of_its_chunk() -> None:
    results = crawler.map(
        mapped.give_unreadable_on_three,
        range(8),
        mode="processes",
        chunksize=4,
        on_error="return",
    )
    *first, bad, four, five, six, seven = results
    assert [*first, four, five, six, seven] == [0, 1, 2, 4, 5, 6, 7]
    assert "the result can't travel: ValueError('unreadable')" in str(bad)
    assert isinstance(bad, RuntimeError)
    assert bad.__notes__ == ["input 3: 3"]


def test_arguments_that_can_not_travel_fail_their_task() -> None:
    values = [1, lambda: None, 3]
    returned = list(crawler.map(str, values, mode="processes", on_error="return"))
    assert (returned[0], returned[2]) == ("1", "3")
    assert isinstance(returned[1], Exception)


@pytest.mark.parametrize("mode", AT_ONCE)
def test_an_exit_in_a_task_is_not_swallowed(mode: str) -> None:
    with pytest.raises(SystemExit):
        list(crawler.map(mapped.leave, [3], mode=mode, on_error="skip"))


def test_a_function_without_a_name_can_not_go_to_another_process() -> None:
    def local(number: int) -> int:
        return number

    for function in (lambda number: number, local, partial(local), threading.Lock().acquire):
        with pytest.raises(UsageError, match=r"can't be sent to another process .* use threads"):
            crawler.map(function, [1], mode="processes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "fast"}, "mode: 'fast' is none of 'threads', 'processes', 'sequential' or"),
        ({"mode": 5}, "mode: 5 is none of"),
        ({"mode": "async"}, "mode: 'async' is none of .*; it is for the pages of a crawl"),
        ({"mode": "nowhere:Executor"}, "mode nowhere:Executor: No module"),
        ({"workers": 0}, "workers: 0"),
        ({"workers": "4"}, "workers: '4' is no number of workers"),
        ({"workers": True}, "workers: True is no number of workers"),
        ({"timeout": 0}, "timeout: 0"),
        ({"timeout": "x"}, "timeout: 'x' is no number of seconds; give more than 0, or None"),
        ({"timeout": 1.0, "mode": "sequential"}, "no task can be given up in mode sequential"),
        ({"retry": -1}, "retry: -1"),
        ({"retry": "often"}, "retry: 'often'"),
        ({"on_error": "ignore"}, "on_error: 'ignore'"),
        ({"chunksize": 0}, "chunksize: 0"),
        ({"chunksize": 2, "timeout": 1.0}, "handed out one by one"),
    ],
)
def test_what_can_not_be_done_is_said_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        crawler.map(str, [1], **arguments)
    with pytest.raises(UsageError, match=message):
        crawler.starmap(str, [(1,)], **arguments)


def test_there_must_be_a_function_and_inputs() -> None:
    with pytest.raises(UsageError, match="something to go through"):
        crawler.map(str)
    with pytest.raises(UsageError, match="5 is no function"):
        crawler.map(5, [1])  # type: ignore[call-overload]


def test_a_function_must_be_a_plain_one() -> None:
    """A call of an async one does nothing yet."""

    async def modern(number: int) -> int:
        return number

    with pytest.raises(UsageError, match=r"modern .* is an async function, a call of which does"):
        crawler.map(modern, [1])


# Time-outs, retries, deaths


def test_a_thread_that_takes_too_long_is_left_behind() -> None:
    release = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            release.wait(20)
        return number

    results = list(crawler.map(work, range(4), workers=1, timeout=0.1, on_error="return"))
    release.set()
    assert (results[0], results[2], results[3]) == (0, 2, 3)
    assert isinstance(results[1], TimeoutError)
    assert isinstance(results[1], PageTimeoutError)


def test_a_process_that_takes_too_long_is_killed_and_replaced() -> None:
    nothing_is_left = watch()
    naps = [0.0, 60.0, 0.0, 0.0]
    results = crawler.map(
        mapped.nap, naps, mode="processes", workers=2, timeout=0.3, on_error="return"
    )
    assert [type(result) for result in results] == [float, PageTimeoutError, float, float]
    wait_until(nothing_is_left)


@pytest.mark.parametrize("mode", AT_ONCE)
def test_a_task_that_hung_once_is_tried_again(mode: str, tmp_path: Path) -> None:
    work = partial(mapped.hang_once, str(tmp_path))
    results = crawler.map(work, range(3), mode=mode, workers=3, timeout=0.3, retry=AT_ONCE_AGAIN)
    assert list(results) == [0, 1, 2]
    (tmp_path / "go").touch()


@pytest.mark.parametrize("mode", MODES)
def test_what_fails_is_tried_again_as_often_as_asked(mode: str, tmp_path: Path) -> None:
    work = partial(mapped.fail_twice, str(tmp_path))
    assert list(crawler.map(work, range(5), mode=mode, retry=AT_ONCE_AGAIN)) == list(range(5))
    with pytest.raises(ConnectionError, match="attempt 2"):
        list(crawler.map(work, [7], mode=mode, retry=1))


def test_a_policy_sees_what_the_function_raised(tmp_path: Path) -> None:
    policy = RetryPolicy(
        retry=tenacity.retry_if_exception_type(ConnectionError),
        wait=tenacity.wait_fixed(0),
        stop=tenacity.stop_after_attempt(3),
    )
    work = partial(mapped.fail_twice, str(tmp_path))
    assert list(crawler.map(work, range(5), retry=policy)) == list(range(5))
    calls = []

    def fail(number: int) -> int:
        calls.append(number)
        raise ValueError(number)

    assert list(crawler.map(fail, range(5), retry=policy, on_error="skip")) == []
    assert sorted(calls) == list(range(5)), "a ValueError isn't tried again"


def test_no_worker_waits_for_a_retry() -> None:
    calls: list[tuple[int, int]] = []

    def work(number: int) -> int:
        calls.append((number, len(calls)))
        if number == 0 and len([n for n, _ in calls if n == 0]) == 1:
            raise Retry("later", after=0.5)
        return number

    assert list(crawler.map(work, range(10), workers=1, retry=1)) == list(range(10))
    assert [number for number, _ in calls] == [*range(10), 0]


def test_a_killer_costs_one_task() -> None:
    results = list(
        crawler.map(mapped.kill_on_three, range(20), mode="processes", on_error="return")
    )
    assert isinstance(results[3], WorkerDiedError)
    del results[3]
    assert results == [n for n in range(20) if n != 3]


def test_a_worker_killed_from_outside_costs_no_task(tmp_path: Path) -> None:
    work = partial(mapped.tell_pid_and_wait, str(tmp_path))
    killed = []

    def kill_one() -> None:
        wait_until(lambda: list(tmp_path.glob("2.*")))
        killed.append(int(next(tmp_path.glob("2.*")).suffix[1:]))
        os.kill(killed[0], signal.SIGKILL)
        wait_until(lambda: len(list(tmp_path.glob("2.*"))) == 2)
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill_one)
    killer.start()
    assert list(crawler.map(work, range(8), mode="processes")) == list(range(8))
    killer.join()
    assert killed


# Nothing is left behind


@pytest.mark.parametrize("mode", AT_ONCE)
def test_a_loop_that_is_left_leaves_nothing(mode: str) -> None:
    nothing_is_left = watch()
    for _ in range(3):
        for result in crawler.map(mapped.increase, itertools.count(), mode=mode):
            if result == 5:
                break
    wait_until(nothing_is_left)
    results = crawler.map(mapped.increase, itertools.count(), mode=mode)
    assert next(results) == 1
    results.close()
    results.close()
    assert list(results) == []
    if mode == "processes":
        assert nothing_is_left(), "close waits for them"
    wait_until(nothing_is_left)


@pytest.mark.parametrize("mode", AT_ONCE)
def test_one_that_is_never_asked_for_anything_leaves_nothing(mode: str) -> None:
    nothing_is_left = watch()
    crawler.map(mapped.increase, range(5), mode=mode)
    gc.collect()
    wait_until(nothing_is_left)


@pytest.mark.parametrize("mode", AT_ONCE)
def test_an_error_and_the_end_leave_nothing(mode: str) -> None:
    nothing_is_left = watch()
    results = crawler.map(mapped.fail_on_odd, range(100), mode=mode)
    with pytest.raises(ValueError, match="odd"):
        list(results)
    wait_until(nothing_is_left)
    results = crawler.map(mapped.increase, range(10), mode=mode)
    assert len(list(results)) == 10
    wait_until(nothing_is_left)


_INTERRUPTED = """
import itertools, sys, threading
sys.path[:0] = {path!r}
import crawler, mapped
results = crawler.map(mapped.nap, itertools.repeat({nap}), mode={mode!r}, workers=2)
print(next(results), flush=True)
try:
    for result in results:
        {body}
except KeyboardInterrupt:
    print("interrupted", flush=True)
import psutil
for server in psutil.Process().children():
    print("left:", [p.cmdline() for p in server.children()] if {is_in_map} else [])
"""


@pytest.mark.parametrize("mode", AT_ONCE)
@pytest.mark.parametrize("place", ["in map", "in the loop"])
def test_ctrl_c_ends_it_and_leaves_nothing(mode: str, place: str, tmp_path: Path) -> None:
    is_in_map = place == "in map"
    code = _INTERRUPTED.format(
        path=sys.path,
        nap=0.3 if is_in_map else 0.0,
        mode=mode,
        body="pass" if is_in_map else "threading.Event().wait(20)",
        is_in_map=is_in_map,
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert rest.startswith("interrupted")
    assert rest.count("left: []") == rest.count("left:")
    wait_until(lambda: not any(p.is_running() for p in family))


HOLDS_A_LOCK = """
import itertools, sys, threading
sys.path[:0] = {path!r}
import crawler, mapped

results = {results}
next(results)
held = threading.Event()
threading.Thread(target=mapped.hold, args=({lock}, held), daemon=True).start()
held.wait()
"""


@pytest.mark.parametrize(
    ("results", "lock"),
    [
        ("crawler.map(abs, itertools.count())", "results._caller.executor._lock"),
        ("crawler.map(abs, itertools.count())", "results._turn"),
        ("(pool := crawler.ThreadPool(2)).imap(abs, itertools.count())", "pool._executor._lock"),
        ("(pool := crawler.ThreadPool(2)).imap(abs, itertools.count())", "pool._callbacks._lock"),
    ],
)
def test_a_program_ends_although_a_thread_has_a_lock(
    tmp_path: Path, results: str, lock: str
) -> None:
    """Threads that are daemons are stopped anywhere when the program ends."""
    code = HOLDS_A_LOCK.format(path=sys.path, results=results, lock=lock)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=30, check=True)


def test_a_program_ends_although_results_are_left(tmp_path: Path) -> None:
    code = (
        f"import itertools, sys; sys.path[:0] = {sys.path!r}\n"
        "import crawler, mapped\n"
        "results = crawler.map(mapped.increase, itertools.count(), mode='processes')\n"
        "pool = crawler.Pool(2)\n"
        "print(next(results), pool.map(mapped.increase, [1]))\n"
    )
    done = run_python("-c", code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("1 [2]\n", "")


# Where it is called


def test_maps_inside_maps() -> None:
    inside = partial(mapped.map_inside, "threads")
    for mode in MODES:
        assert list(crawler.map(inside, range(4), mode=mode)) == [[], [1], [1, 2], [1, 2, 3]]
    inside = partial(mapped.map_inside, "processes")
    assert list(crawler.map(inside, range(3), workers=2)) == [[], [1], [1, 2]]
    with pytest.raises(UsageError, match="use threads in it"):
        list(crawler.map(inside, range(3), mode="processes", workers=2))


_SCRIPT = """
import crawler
class Row:
    def __init__(self, n): self.n = n
    def grow(self, by): return Row(self.n + by)
class Wrong(Exception): pass
def work(row):
    if row.n == 3: raise Wrong("three")
    return Row(row.n * 2)
rows = [Row(n) for n in range(5)]
got = list(crawler.map(work, rows, mode="processes", on_error="return"))
print([type(r) is Row and r.n for r in got], isinstance(got[3], Wrong))
print([r.n for r in crawler.map(Row(1).grow, [1, 2], mode="processes")])
with crawler.Pool(2) as pool:
    print([r.n for r in pool.map(work, rows[:2])])
try:
    crawler.map(lambda row: row, rows, mode="processes")
except crawler.CrawlError as error:
    print(str(error).partition(" can't")[0])
"""


@pytest.mark.parametrize("name", ["script.py", "myscript", "my.script"])
def test_a_script_needs_no_main_guard_and_its_classes_stay_its_own(
    name: str, tmp_path: Path
) -> None:
    script = tmp_path / name
    script.write_text(_SCRIPT)
    done = run_python(str(script))
    expected = "[0, 2, 4, False, 8] True\n[2, 3]\n[0, 2]\n<lambda>\n"
    assert (done.stdout, done.stderr) == (expected, "")


_NAMED = """
import enum, functools, typing
import crawler
T = typing.TypeVar("T")
UserId = typing.NewType("UserId", int)
class Nothing:
    def __reduce__(self): return "NOTHING"
NOTHING = Nothing()
class Pair:
    def __init__(self, a, b): self.sum = a + b
    def __reduce__(self): return Pair, (self.sum, 0)
class Color(enum.Enum):
    RED = 1
@functools.lru_cache
def square(n): return n * n
@functools.cache
def add(a, b): return a + b
def same(thing): return thing, thing is NOTHING
print(list(crawler.map(square, range(4), mode="processes")))
print(list(crawler.map(functools.partial(add, b=1), [1, 2], mode="processes")))
things = [T, UserId, NOTHING, Color.RED, square]
got = list(crawler.map(same, things, mode="processes"))
print([a is b for a, (b, _) in zip(things, got)], got[2][1])
print([pair.sum for pair, _ in crawler.map(same, [Pair(1, 2)], mode="processes")])
def inside():
    @functools.cache
    def local(n): return n
    return local
try:
    crawler.map(inside(), [1], mode="processes")
except crawler.CrawlError as error:
    print(str(error).partition(" can't")[0])
"""


def test_what_the_script_gives_a_name_travels_by_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(_NAMED)
    done = run_python("script.py", cwd=tmp_path)
    expected = (
        "[0, 1, 4, 9]\n[2, 3]\n[True, True, True, True, True] True\n[3]\ninside.<locals>.local\n"
    )
    assert (done.stdout, done.stderr) == (expected, "")


def test_at_the_prompt_threads_do_and_processes_say_why_not(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import crawler\n"
        "def double(n): return 2 * n\n"
        "print(list(crawler.map(double, [1, 2])), list(crawler.map(lambda n: -n, [1, 2])))\n"
        "crawler.map(double, [1, 2], mode='processes')\n"
    )
    done = run_python("-", cwd=tmp_path, stdin=code)
    assert done.stdout == "[2, 4] [-1, -2]\n"
    assert "double is defined in a notebook or at the prompt" in done.stderr


def test_a_script_that_can_not_be_imported_says_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import crawler\n"
        "if __name__ != '__main__': raise OSError('only as a script')\n"
        "def work(n): return n\n"
        "print(list(crawler.map(work, [1], mode='processes', on_error='return')))\n"
    )
    done = run_python(str(script))
    assert SpiderImportError.__name__ in done.stdout
    assert "only as a script" in done.stdout
