"""What most tests need: a practice site, and a working directory of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from crawler import demo
from crawler.demo import PracticeSite
from crawler.executors import processes

# No deadlines and no complaints about slowness: they measure the machine, not the program.
settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")

REPOSITORY = Path(__file__).parents[1]

# A worker process imports the module that a spider is in. Of ours many import these, which takes
# half a second: the fork server does it, once.
processes._PRELOAD += ["hypothesis", "pytest"]


def pytest_configure() -> None:
    """A job in the background ignores these, and so would all commands that are started here."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def site() -> Iterator[PracticeSite]:
    """A practice site without latency or failures, shared by all tests that don't count."""
    with demo.start(port=0) as started:
        yield started


@pytest.fixture
def tmp_cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


LONGEST = [
    "faults",
    "network_faults",
    "cli",
    "disk_faults",
    "hostile",
    "again",
    "real_sites",
    "files",
]
"""Files that take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They come first, so that no process is alone with one of them at the end."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


told: list[str] = []
"""What tests counted, for the end of the report."""


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """It was counted in another process."""
    told.extend(getattr(node, "workeroutput", {}).get("told", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """This is that process."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["told"] = told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show it."""
    for line in sorted(told):
        terminalreporter.write_line(line)
