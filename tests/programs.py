"""Python programs of their own, run to their end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run_python(
    *arguments: str, cwd: Path | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """What it printed, and its exit code; a minute at most."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
