"""Runs the real command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
