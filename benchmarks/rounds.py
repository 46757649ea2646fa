"""All programs in turn, round after round: A B C, A B C ... so that whatever else the machine does
meets all of them alike.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmarks.answers import Pages, WrongAnswerError
from benchmarks.meter import Cost, measure
from benchmarks.programs import Program

HERE = Path(__file__).parent
ROUNDS = 5
_FINISHED = (0, 3, 8)
"""Exit codes of a crawl that came to its end. Ours says 3, wget2 8 if a link of the site is broken,
which the check of the answer judges."""

FIGURES: dict[str, Callable[[Cost, int], float]] = {
    "cpu": lambda cost, pages: cost.cpu / pages * 1e3,
    "speed": lambda cost, pages: pages / cost.wall,
    "seconds": lambda cost, pages: cost.wall,
    "cpu_seconds": lambda cost, pages: cost.cpu,
    "memory": lambda cost, pages: cost.memory / 1e6,
}
"""Milliseconds of CPU a page, pages a second, seconds in all, seconds of CPU, megabytes."""


@dataclass(slots=True)
class Runs:
    """What each program took, round by round."""

    order: list[str] = field(default_factory=list)
    """The programs' names, in the order in which they take turns."""
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """By program, then by the names in FIGURES."""
    absent: dict[str, str] = field(default_factory=dict)
    """Why a program has no figures."""

    def note(self, program: str, cost: Cost, pages: int) -> None:
        """Add a run to a program's."""
        own = self.figures.setdefault(program, {name: [] for name in FIGURES})
        for name, figure in FIGURES.items():
            own[name].append(figure(cost, pages))

    def drop(self, program: str, reason: str) -> None:
        """A program that was wrong once has no figures at all."""
        self.figures.pop(program, None)
        self.absent[program] = reason


@dataclass(frozen=True, slots=True)
class Bench:
    """How to measure, as asked for on the command line."""

    scratch: Path
    """A folder for all that is written."""
    rounds: int = ROUNDS
    peers: tuple[str, ...] | None = None
    """Which of them take part: parts of their names in any case; None for all of them."""
    python: str = sys.executable
    """The interpreter that runs ours."""
    peers_python: str = sys.executable
    """The interpreter that runs the peers."""

    def takes(self, program: Program) -> bool:
        """Whether a program is asked for."""
        if program.is_ours or self.peers is None:
            return True
        return any(part.lower() in program.name.lower() for part in self.peers)

    def missing(self, program: Program) -> str | None:
        """What keeps a program from being run here, in words, or None."""
        if program.tool is not None and shutil.which(program.tool) is None:
            return f"{program.tool} is not installed"
        python = self.python if program.is_ours else self.peers_python
        absent = packages_missing(python, program.packages)
        return f"not installed: {', '.join(absent)}" if absent else None

    def in_turn(
        self,
        programs: Sequence[Program],
        starts: Sequence[str],
        expected: Pages,
        *,
        concurrency: int = 16,
    ) -> Runs:
        """Run each program in each round from these URLs, check its answers, tell what it took."""
        programs = [program for program in programs if self.takes(program)]
        runs = Runs([program.name for program in programs])
        for program in programs:
            reason = self.missing(program)
            if reason is not None:
                runs.drop(program.name, reason)
        for number in range(1, self.rounds + 1):
            for program in programs:
                if program.name in runs.absent:
                    continue
                say(f"  round {number} of {self.rounds}: {program.name} ", end="")
                try:
                    cost, pages = self._run(program, starts, expected, concurrency)
                except WrongAnswerError as error:
                    runs.drop(program.name, f"no figure: {error}")
                    say(f"no figure: {error}")
                else:
                    runs.note(program.name, cost, pages)
                    say(
                        f"{cost.cpu / pages * 1e3:.2f} ms CPU a page, "
                        f"{pages / cost.wall:.0f} pages/s, {cost.memory / 1e6:.0f} MB"
                    )
        return runs

    def _run(
        self, program: Program, starts: Sequence[str], expected: Pages, concurrency: int
    ) -> tuple[Cost, int]:
        folder = self.scratch / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "starts.txt").write_text("\n".join(starts), encoding="utf-8")
        paths = ("/" + url.split("/", 3)[3] for url in expected)
        (folder / "paths.txt").write_text("\n".join(paths), encoding="utf-8")
        out, said = folder / "answer.jsonl", folder / "said.txt"
        names = {
            "python": self.python,
            "peers": self.peers_python,
            "here": str(HERE),
            "starts": str(folder / "starts.txt"),
            "start": starts[0],
            "paths": str(folder / "paths.txt"),
            "out": str(out),
            "concurrency": str(concurrency),
        }
        cost = measure(
            [part.format_map(names) for part in program.command],
            cwd=folder,
            said=said,
            environment={name: text.format_map(names) for name, text in program.environment},
        )
        words = said.read_text(encoding="utf-8", errors="replace")
        if cost.code not in _FINISHED:
            last = words.strip().rpartition("\n")[2]
            raise WrongAnswerError(f"it ended with {cost.code}: {last}")
        return cost, program.check(out, words, expected)


def say(text: str, end: str = "\n") -> None:
    """Tell who waits how far it is; the tables alone go to stdout."""
    print(text, end=end, file=sys.stderr, flush=True)


@cache
def packages_missing(python: str, packages: tuple[str, ...]) -> tuple[str, ...]:
    """Which of these packages an interpreter doesn't have."""
    script = (
        "import sys, importlib.util as u; "
        "print(*(p for p in sys.argv[1:] if u.find_spec(p) is None))"
    )
    try:
        done = subprocess.run(
            [python, "-c", script, *packages],
            capture_output=True,
            text=True,
            check=True,
            cwd=os.sep,  # where no folder is taken for a package
        )
    except (OSError, subprocess.CalledProcessError):
        return packages or (python,)
    return tuple(done.stdout.split())
