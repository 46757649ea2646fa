"""The executors: the same contract in every mode, and what the supervised processes add to it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import crawled_tasks as tasks
from crawler.errors import PageTimeoutError, UsageError, WorkerDiedError
from crawler.executors import layout, make_executor
from crawler.executors.processes import ProcessExecutor

MODES = ["sequential", "threads", "processes"]


@contextmanager
def executor(
    mode: str, workers: int | None = None, slots: int = 4, initializer: Any = tasks.prepare
) -> Iterator[Executor]:
    with make_executor(
        mode, workers=workers, slots=slots, initializer=initializer, initargs=()
    ) as made:
        yield made


@contextmanager
def processes(
    workers: int = 2, slots: int = 4, initializer: Any = tasks.prepare
) -> Iterator[ProcessExecutor]:
    with executor("processes", workers, slots, initializer) as made:
        assert isinstance(made, ProcessExecutor)
        yield made


def until(condition: Any) -> None:
    """Wait for something another process does."""
    give_up_at = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up_at, "it never happened"
        time.sleep(0.01)


@pytest.mark.parametrize("mode", MODES)
def test_results_and_errors_come_back_through_futures(mode: str) -> None:
    with executor(mode) as pool:
        results = [pool.submit(tasks.square, number) for number in range(20)]
        error = pool.submit(tasks.raise_error, "broken")
        assert [future.result(20) for future in results] == [n * n for n in range(20)]
        with pytest.raises(ValueError, match="broken"):
            error.result(20)


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_as_many_tasks_as_slots_are_at_work_at_once(mode: str, tmp_path: Path) -> None:
    with executor(mode, workers=None if mode == "threads" else 2, slots=4) as pool:
        futures = [pool.submit(tasks.meet, tmp_path, number, 4) for number in range(4)]
        assert [future.result(20) for future in futures] == [0, 1, 2, 3]


def test_several_that_submit_at_once_start_no_more_threads_than_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seats: list[int] = []
    begin, start = threading.Barrier(9), threading.Thread.start
    with executor("threads", slots=2, initializer=seats.append) as pool:

        def submit() -> None:
            begin.wait()
            pool.submit(time.sleep, 0.01)

        def start_slowly(thread: threading.Thread) -> None:
            time.sleep(0.05)
            start(thread)

        submitters = [threading.Thread(target=submit) for _ in range(8)]
        for submitter in submitters:
            submitter.start()
        monkeypatch.setattr(threading.Thread, "start", start_slowly)
        begin.wait()
        for submitter in submitters:
            submitter.join()
    assert len(seats) == len(set(seats)) <= 2


def test_sequential_runs_in_the_callers_thread() -> None:
    with executor("sequential") as pool:
        assert pool.submit(threading.current_thread).result() is threading.current_thread()


def test_another_executor_is_plugged_in_by_name() -> None:
    with executor("crawler.executors.threads:ThreadExecutor") as pool:
        assert pool.submit(tasks.square, 3).result(20) == 9
    with pytest.raises(UsageError, match="nosuch"):
        make_executor("nosuch:Pool", workers=1, slots=1, initializer=tasks.prepare, initargs=())


@pytest.mark.parametrize(
    ("workers", "slots", "expected"),
    [(2, 8, (2, 4)), (2, 5, (2, 3)), (8, 4, (4, 1)), (1, 1, (1, 1))],
)
def test_seats_are_spread_over_processes(
    workers: int, slots: int, expected: tuple[int, int]
) -> None:
    assert layout("processes", workers, slots) == expected
    assert layout("threads", workers, slots) == (slots, 1)


def test_every_seat_has_a_number_of_its_own(tmp_path: Path) -> None:
    with processes(workers=2, slots=4) as pool:
        wait([pool.submit(tasks.meet, tmp_path, number, 4) for number in range(4)], timeout=20)
        seats = {pool.submit(tasks.seat_and_pid).result(20) for _ in range(100)}
    assert {seat // 2 for seat, _ in seats} <= {0, 1}
    assert all(len({pid for s, pid in seats if s == seat}) == 1 for seat, _ in seats)


def test_no_more_processes_are_started_than_there_is_work() -> None:
    with processes(workers=4, slots=8) as pool:
        for number in range(5):
            pool.submit(tasks.square, number).result(20)
            assert len(pool.pids()) == 1


def test_work_is_spread_before_it_is_stacked(tmp_path: Path) -> None:
    with processes(workers=2, slots=8) as pool:
        pool.submit(tasks.wait_for, tmp_path / "go")
        pool.submit(tasks.wait_for, tmp_path / "go")
        until(lambda: len(pool.pids()) == 2)
        (tmp_path / "go").touch()


def test_what_cannot_travel_is_the_tasks_own_error() -> None:
    with processes(workers=1, slots=1) as pool:
        there: Future[Any] = pool.submit(lambda: None)
        back = pool.submit(tasks.return_lambda)
        with pytest.raises(Exception, match=r"pickle|local object"):
            there.result(20)
        with pytest.raises(RuntimeError, match="can't travel"):
            back.result(20)
        assert pool.submit(tasks.square, 2).result(20) == 4


@pytest.mark.parametrize("killer", [tasks.kill_self, tasks.exit_quietly])
def test_a_task_that_kills_its_process_fails_alone(killer: Any) -> None:
    with processes(workers=2, slots=8) as pool:
        good = [pool.submit(tasks.square, number) for number in range(8)]
        bad = pool.submit(killer)
        more = [pool.submit(tasks.square, number) for number in range(8)]
        assert [f.result(20) for f in good + more] == [n * n for n in range(8)] * 2
        with pytest.raises(WorkerDiedError, match=r"twice \((killed by SIGKILL|exit code 0)\)"):
            bad.result(20)
        assert pool.deaths == 2


def test_several_killers_at_once_cost_only_themselves() -> None:
    with processes(workers=2, slots=8) as pool:
        futures: list[Future[Any]] = [
            pool.submit(tasks.kill_self) if number % 5 == 0 else pool.submit(tasks.square, number)
            for number in range(40)
        ]
        wait(futures, timeout=60)
        failed = [number for number, f in enumerate(futures) if f.exception() is not None]
    assert failed == list(range(0, 40, 5))


def test_tasks_of_a_process_killed_from_outside_are_done_all_the_same(tmp_path: Path) -> None:
    with processes(workers=2, slots=6) as pool:
        futures = [pool.submit(tasks.wait_for, tmp_path / "go") for _ in range(6)]
        until(lambda: len(pool.pids()) == 2)
        victim = pool.pids()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: pool.deaths == 1 and len(set(pool.pids()) - {victim}) == 2)
        (tmp_path / "go").touch()
        assert [future.result(20) for future in futures] == ["released"] * 6


def test_a_death_is_noticed_although_a_descendant_holds_the_pipe(tmp_path: Path) -> None:
    with processes(workers=1, slots=1) as pool:
        result = pool.submit(tasks.fork_and_die_once, tmp_path / "marker")
        assert result.result(20) == "survived"
        os.kill(int((tmp_path / "marker").read_text()), signal.SIGKILL)


def test_a_task_whose_process_died_once_is_tried_again(tmp_path: Path) -> None:
    with processes(workers=1, slots=2) as pool:
        assert pool.submit(tasks.kill_self_once, tmp_path / "marker").result(20) == "survived"
        assert pool.deaths == 1


def test_the_fork_servers_death_harms_nobody() -> None:
    with processes(workers=2, slots=2) as pool:
        pool.submit(tasks.square, 1).result(20)
        (child,) = pool.pids()
        server = psutil.Process(child).parent()
        if server is None or server.pid == os.getpid():
            pytest.skip("this platform has no fork server")
        server.kill()
        assert pool.submit(tasks.square, 3).result(20) == 9
        os.kill(child, signal.SIGKILL)  # a replacement needs a new server
        until(lambda: pool.deaths == 1)
        assert pool.submit(tasks.square, 4).result(20) == 16


def test_processes_that_cannot_start_break_the_pool_instead_of_hanging() -> None:
    with processes(initializer=tasks.fail_to_prepare) as pool:
        with pytest.raises(BrokenExecutor, match="die as they start"):
            pool.submit(tasks.square, 1).result(30)
        with pytest.raises(RuntimeError):
            pool.submit(tasks.square, 1)


def test_what_is_logged_there_is_logged_here_and_where_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = logging.getLogger("diary")
    with processes(slots=1) as pool:
        pool.submit(diary.info, "too little").result(timeout=20)
        pool.submit(diary.warning, "%d %%", 100).result(timeout=20)
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == ("diary", 30, "100 %")
    assert Path(record.pathname).name == "child.py", "RunLog counts by place"


def test_shutdown_waits_for_what_runs_and_leaves_no_process() -> None:
    with processes() as pool:
        futures = [pool.submit(tasks.square, number) for number in range(50)]
        wait(futures[:1], timeout=20)
        pids = pool.pids()
    assert [future.result(0) for future in futures] == [n * n for n in range(50)]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(RuntimeError):
        pool.submit(tasks.square, 1)


def test_shutdown_with_cancel_gives_up_what_runs(tmp_path: Path) -> None:
    with processes(workers=1, slots=1) as pool:
        running = pool.submit(tasks.wait_for, tmp_path / "never")
        queued = pool.submit(tasks.square, 1)
        until(running.running)
        pool.shutdown(cancel_futures=True)
        assert isinstance(running.exception(0), CancelledError)
        assert queued.cancelled() or isinstance(queued.exception(0), CancelledError)


_ORPHANS = """
import sys, time
sys.path[:0] = {path!r}
import crawled_tasks as tasks
from pathlib import Path
from crawler.executors import make_executor
pool = make_executor("processes", workers=2, slots=4, initializer=tasks.prepare, initargs=())
for _ in range(4):
    pool.submit(tasks.wait_for, Path("never"))
while len(pool.pids()) < 2:
    time.sleep(0.01)
print(*pool.pids(), flush=True)
time.sleep(60)
"""


def test_worker_processes_end_when_their_parent_is_killed() -> None:
    code = _ORPHANS.format(path=[str(Path(__file__).parent)])
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = list(map(int, parent.stdout.readline().split()))
        parent.kill()
    assert len(pids) == 2
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


_UNGUARDED = """
import sys
sys.path[:0] = {path!r}
import crawled_tasks as tasks
from crawler.executors import make_executor
print("main module runs")
with make_executor("processes", workers=1, slots=1, initializer=tasks.prepare, initargs=()) as pool:
    print(pool.submit(tasks.square, 5).result())
"""


def test_a_script_without_a_main_guard_does_not_start_itself_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_UNGUARDED.format(path=[str(Path(__file__).parent)]))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("main module runs\n25\n", "")


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_a_task_that_takes_too_long_is_given_up_and_its_slot_is_free_again(
    mode: str, tmp_path: Path
) -> None:
    with executor(mode, workers=1, slots=1) as pool:
        abandon: Any = pool.abandon  # type: ignore[attr-defined]
        stuck = pool.submit(tasks.wait_for, tmp_path / "never")
        until(stuck.running)
        assert 50 < abandon(stuck, 60.0) <= 60.0, "there is time left"
        until(lambda: abandon(stuck, 0.05) <= 0.05)
        until(lambda: stuck.done() or abandon(stuck, 0.05) is None)
        with pytest.raises(PageTimeoutError, match=r"not finished after 0.05 s"):
            stuck.result(0)
        assert pool.submit(tasks.square, 3).result(20) == 9
        assert abandon(stuck, 0.05) == 0.0
        (tmp_path / "never").touch()


def test_what_else_the_killed_process_held_is_done(tmp_path: Path) -> None:
    with processes(workers=1, slots=3) as pool:
        stuck = pool.submit(tasks.hold_the_interpreter)
        others = [pool.submit(tasks.square, number) for number in range(2)]
        until(lambda: stuck.done() or pool.abandon(stuck, 0.2) is None)
        assert isinstance(stuck.exception(0), PageTimeoutError)
        assert [future.result(20) for future in others] == [0, 1]


def test_a_child_that_reads_nothing_any_more_is_killed_all_the_same() -> None:
    """The supervisor is stuck itself then, sending it the next task."""
    with processes(workers=1, slots=3) as pool:
        stuck = pool.submit(tasks.hold_the_interpreter)
        until(stuck.running)
        more = pool.submit(tasks.length, "x" * 1_000_000)
        until(lambda: stuck.done() or pool.abandon(stuck, 1.0) is None)
        assert isinstance(stuck.exception(0), PageTimeoutError)
        assert more.result(20) == 1_000_000


def test_an_initializer_that_fails_is_heard_of() -> None:
    with executor("threads", initializer=tasks.raise_error_in_seat) as pool:
        future = pool.submit(tasks.square, 2)
        with pytest.raises(ValueError, match="no seat"):
            future.result(20)


def test_f15_memory_is_limited_beyond_what_a_process_starts_with() -> None:
    megabyte = 2**20
    with make_executor(
        "processes",
        workers=1,
        slots=8,
        initializer=tasks.prepare,
        initargs=(),
        memory=200 * megabyte,
    ) as pool:
        assert pool.submit(tasks.take, 100 * megabyte).result(20) == 100 * megabyte
        with pytest.raises(WorkerDiedError, match="no memory left"):
            pool.submit(tasks.take, 300 * megabyte).result(20)
        with pytest.raises(WorkerDiedError, match="no memory left"):
            pool.submit(tasks.give, 150 * megabyte).result(20)
        assert pool.submit(tasks.take, 100 * megabyte).result(20) == 100 * megabyte
        assert isinstance(pool, ProcessExecutor)
        assert pool.deaths == 0


def test_only_processes_have_a_memory_of_their_own() -> None:
    with pytest.raises(UsageError, match="mode threads can't be set up"):
        make_executor(
            "threads", workers=1, slots=1, initializer=tasks.prepare, initargs=(), memory=1
        )


def test_a_task_that_is_late_in_company_is_tried_alone_first(tmp_path: Path) -> None:
    """The late one holds the interpreter; the others are as late, through no fault of theirs."""
    with processes(workers=1, slots=4) as pool:
        others = [pool.submit(tasks.wait_for, tmp_path / "go") for _ in range(3)]
        until(lambda: all(other.running() for other in others))
        stuck = pool.submit(tasks.hold_the_interpreter)
        until(stuck.running)
        until(lambda: pool.abandon(others[0], 0.2) == 0.2)
        (tmp_path / "go").touch()
        until(lambda: pool.deaths >= 1)
        until(lambda: stuck.done() or pool.abandon(stuck, 0.5) is None)
        assert isinstance(stuck.exception(0), PageTimeoutError)
        assert [other.result(20) for other in others] == ["released"] * 3
