"""Runs the real command in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

CRAWL = [sys.executable, "-m", "crawler"]


def crawl(
    *arguments: str, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`crawl ...` in the working directory, to its end."""
    return subprocess.run(
        [*CRAWL, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def start_crawl(*arguments: str) -> subprocess.Popen[str]:
    """`crawl ...` in the background, at the head of a process group of its own."""
    return subprocess.Popen(
        [*CRAWL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def spider_file(path: Path, body: str) -> Path:
    """A spider file with the usual first lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("from crawler import Request, Response, spider\n" + body, encoding="utf-8")
    return path


def signal_all(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """To a crawl and all that it started."""
    with suppress(psutil.Error, ProcessLookupError):
        family = [psutil.Process(process.pid)]
        family += family[0].children(recursive=True)
        for each in family:
            each.send_signal(number)
