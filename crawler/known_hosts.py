"""Which hosts SFTP may talk to: those in `~/.ssh/known_hosts`, as ssh has it.

fsspec would take any host for the right one, and give it the password.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import paramiko


class KnownHosts(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Refuses a host whose key isn't known, or is another one."""

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ARG002
        """Called by paramiko for each host, since fsspec gives it no keys to know."""
        file = Path("~/.ssh/known_hosts").expanduser()
        known = paramiko.HostKeys(str(file) if file.exists() else None)
        if known.check(hostname, key):
            return
        is_other = (known.lookup(hostname) or {}).get(key.get_name()) is not None
        what = "has another key than" if is_other else "is not"
        raise paramiko.SSHException(
            f"{hostname} {what} in {file} ({key.get_name()} {key.fingerprint}); "
            "connect to it by ssh once, and compare"
        )
