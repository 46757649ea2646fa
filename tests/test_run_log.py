"""run.log: whatever happens and however often, it stays small, and what is left out is counted."""

from __future__ import annotations

import errno
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.run_log import RunLog

ours = logging.getLogger("crawler.test")
theirs = logging.getLogger("a_spider")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    handler = RunLog(tmp_path / "run.log")
    logging.getLogger().addHandler(handler)
    ours.setLevel(logging.INFO)
    theirs.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def written(log: RunLog) -> list[str]:
    log.close()
    return Path(log.baseFilename).read_text(encoding="utf-8").splitlines()


def test_f33_a_million_failures_are_less_than_a_megabyte(log: RunLog) -> None:
    """Each record as the engine logs it; the handler is called directly, to save time."""
    records = [
        logging.LogRecord("crawler.engine", logging.WARNING, "engine.py", line, text, args, None)
        for line, text, args in [
            (1, "failed: %s (%s)", ("https://x.example/" + "a" * 80, "the server answered 500")),
            (2, "%s", ("Traceback (most recent call last):\n" + "  File ...\n" * 80,)),
            (3, "trying again: %s (%s)", ("https://x.example/" + "a" * 80, "timed out")),
            (4, "an item of %s failed: %s", ("https://x.example/", "KeyError: 'price'")),
        ]
    ]
    for record in records:
        for _ in range(250_000):
            log.handle(record)
    lines = written(log)
    assert Path(log.baseFilename).stat().st_size < 250_000
    events = [line for line in lines if not line.startswith("    ")]
    counted = [line.partition("crawler.log: ")[2] for line in events[-4:]]
    assert [text.partition(" more like this: ")[2] for text in counted] == [
        record.msg for record in records
    ]
    left_out = [int(text.partition(" ")[0].replace(",", "")) for text in counted]
    assert sum(left_out) + len(events) - 4 == 1_000_000
    assert 100 < 250_000 - left_out[0] < 1_000, "some hundred lines of each kind are there"


def test_each_kind_has_its_own_measure(log: RunLog) -> None:
    for number in range(3_000):
        extra = {"kind": "timeout" if number % 2 else "status 500"}
        ours.warning("failed: %s", number, extra=extra)
    ours.warning("something else")
    *events, one, two = written(log)
    assert events[-1].endswith("something else")
    assert one.endswith(" more like this: failed: %s [status 500]")
    assert two.endswith(" more like this: failed: %s [timeout]")


def test_what_a_spider_logs_is_there_for_long(log: RunLog) -> None:
    for number in range(10_000):
        theirs.info("page %d", number)
    lines = written(log)
    assert len(lines) == 10_000
    assert lines[-1].endswith("INFO a_spider: page 9999")


def test_a_long_message_is_cut(log: RunLog) -> None:
    ours.info("%s", "x" * 10**6)
    (line,) = written(log)
    assert len(line) < 5_000
    assert " ... (1,000," in line


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_no_traceback(
    log: RunLog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(log, "stream", FullDisk())
        ours.info("hello")
    assert capsys.readouterr().err == ""
