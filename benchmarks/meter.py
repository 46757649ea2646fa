"""What did a command take? CPU, time and memory, of it and of all that it started.

    measure(["crawl", "run", ...]) -> Cost        in this process
      python -m benchmarks.meter REPORT SECONDS COMMAND ...     a process between, which adopts
        COMMAND                                   orphans, so that none is missed
          its workers, their fork server ...

Linux counts a process's CPU for its parent when that waits for it. Fork servers and daemons are
waited for by nobody; the process between says that it takes them (PR_SET_CHILD_SUBREAPER), waits
for all of them, and its own CPU counts for nothing.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_SAMPLE_SECONDS = 0.2
_LEFT_OVER_SECONDS = 10.0
"""What a command left running is given to end, then it is killed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a command and its whole tree of processes."""

    cpu: float
    """Seconds, user and system together."""
    wall: float
    """Seconds, from its start to its end; what it leaves in the background is not waited for."""
    memory: int
    """Bytes: the highest sum of the processes' proportional set sizes, seen five times a second."""
    code: int
    """Its exit code; below 0: the signal that ended it."""


def measure(
    command: Sequence[str],
    *,
    cwd: Path,
    said: Path,
    environment: Mapping[str, str] | None = None,
    seconds: float = 1800.0,
) -> Cost:
    """Run a command to its end and tell what it took; after `seconds` it is killed.

    What it prints goes to the file `said`, out and error together. Raises OSError if it can't be
    started, or if this is not Linux.
    """
    if sys.platform != "linux":
        raise OSError("measuring a tree of processes needs Linux (PR_SET_CHILD_SUBREAPER)")
    with tempfile.TemporaryDirectory() as folder, said.open("wb") as output:
        report = Path(folder) / "report.json"
        between = [sys.executable, "-m", "benchmarks.meter", str(report), str(seconds), str(cwd)]
        paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(paths)}
        own.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody's start is to compile what is installed
        process = subprocess.Popen(
            [*between, *command],
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait()
        finally:
            process.terminate()  # killed, it could not end what it started
            process.wait()
        try:
            return Cost(**json.loads(report.read_bytes()))
        except FileNotFoundError:
            raise OSError(f"{command[0]}: {said.read_text(errors='replace').strip()}") from None


def _main(report: str, seconds: str, cwd: str, *command: str) -> None:
    _tell_the_kernel()
    peak = _Peak()
    try:
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd)
        peak.start()
        try:
            code = process.wait(float(seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        wall = time.perf_counter() - begin
        peak.stop()
        _wait_for_the_rest()
    finally:
        _kill_all()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = Cost(used.ru_utime + used.ru_stime, wall, peak.bytes, code)
    Path(report).write_text(json.dumps(asdict(cost)), encoding="utf-8")


def _tell_the_kernel() -> None:
    """Orphans below are ours; and with whoever asked for this gone, it ends, and they with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_CHILD_SUBREAPER, 1), (_PR_SET_PDEATHSIG, signal.SIGTERM)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def _wait_for_the_rest() -> None:
    alarm = threading.Timer(_LEFT_OVER_SECONDS, _kill_all)
    alarm.start()
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    alarm.cancel()


def _kill_all() -> None:
    import psutil

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


class _Peak(threading.Thread):
    """The highest memory of all processes below this one."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._end = threading.Event()

    def run(self) -> None:
        import psutil  # here, so that the front door can say that it is missing

        own = psutil.Process()
        while True:
            total = 0
            for process in own.children(recursive=True):
                # Gone meanwhile; or a zombie, which has no memory any more.
                with suppress(psutil.Error, OSError):
                    total += process.memory_full_info().pss
            self.bytes = max(self.bytes, total)
            if self._end.wait(_SAMPLE_SECONDS):
                return

    def stop(self) -> None:
        self._end.set()
        self.join()


if __name__ == "__main__":
    _main(*sys.argv[1:])
