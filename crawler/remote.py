"""Outputs elsewhere, by URL: `s3://bucket/posts.json`. fsspec knows how to get there.

A file is made whole here and uploaded when it is complete; what fails for a passing reason is tried
again. Where it is stored in one step (S3 and its like), the old file is there until then; elsewhere
it is uploaded beside the old one and renamed.

Nobody is told a password: a URL that holds one is refused, since it would be in the list of
processes, in the history of the shell and in run.json. They belong where each library looks for
them (`~/.aws`, `AWS_...`, `~/.ssh`, an ssh-agent, fsspec's own configuration).
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from crawler.errors import OutputError, UsageError
from crawler.retry import try_again

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.+)", re.IGNORECASE | re.DOTALL)
_CREDENTIALS = re.compile(r"[^/]*:(?!\d*(/|$))|.*:.*@")
"""In what comes behind `://`: a colon that doesn't stand before a port."""

_PACKAGES = {
    "s3": ("s3", "s3fs"),
    "s3a": ("s3", "s3fs"),
    "gs": ("gs", "gcsfs"),
    "gcs": ("gs", "gcsfs"),
    "sftp": ("sftp", "paramiko"),
    "ssh": ("sftp", "paramiko"),
}
"""The extra and the package that a scheme needs."""
_AT_ONCE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
"""Where a file is the old one until the new one is there as a whole."""
_NO_PLACES = frozenset({"http", "https", "file", "local", "data"})
_LASTING = (
    PermissionError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    ImportError,
    TypeError,
    ValueError,
)
"""What trying again doesn't mend."""
_TALKATIVE = {
    **dict.fromkeys(("aiobotocore", "botocore", "fsspec", "gcsfs", "google", "s3fs"), "WARNING"),
    "paramiko": "CRITICAL",
}
"""From which level on they may log: below it are headers, in which there are tokens. What paramiko
raises it logs too, with a traceback."""
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS", re.IGNORECASE)

log = logging.getLogger("crawler.remote")


def is_url(text: str) -> bool:
    """Whether it is the URL of a place, and no path."""
    return _URL.fullmatch(text) is not None


def check_url(text: str) -> None:
    """Raise UsageError if it is a URL that can be none of a place.

    It isn't repeated: it may hold a password, which must not come to screens and logs.
    """
    match = _URL.fullmatch(text)
    if match is None:
        return
    scheme = match["scheme"].lower()
    if scheme in _NO_PLACES:
        raise UsageError(f"-o {scheme}://...: outputs go to files, or to s3://, gs://, sftp:// ...")
    if _CREDENTIALS.match(match["rest"]):
        raise UsageError(
            f"-o {scheme}://...: a password must not be in a URL, where others can read "
            "it; put it where the library looks for it (docs/command-line.md, Remote places)"
        )


def file_name(url: str) -> PurePosixPath:
    """The last part of a URL."""
    return PurePosixPath(PurePosixPath(url).name)


def place_below(folder: Path, url: str) -> Path:
    """Where the file for a URL is made: no two URLs share a place, none is outside the folder."""
    scheme, _, rest = url.partition("://")
    parts = [part for part in rest.split("/") if part not in ("", ".", "..")]
    return folder.joinpath(scheme.lower(), *parts)


def check_remote(url: str) -> None:
    """Raise UsageError, before anything is fetched, if nothing can be uploaded there."""
    scheme = _scheme(url)
    try:
        _file_system(url)
    except ImportError as error:
        extra, package = _PACKAGES.get(scheme, ("remote", "fsspec"))
        if scheme not in _PACKAGES and error.name != "fsspec":
            raise UsageError(f"{url}: {error}") from None
        raise UsageError(
            f"{scheme}:// needs {package}: pip install 'crawl-in-order[{extra}]'"
        ) from None
    except Exception as error:  # noqa: BLE001  (libraries raise anything)
        raise UsageError(f"can't write {url}: {_told(error)}") from None


def upload(
    file: Path, url: str, *, attempts: int = 5, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Put a file where the URL says. Raises OutputError, and leaves the old file, if that fails."""
    log.info("uploading %s to %s", file, url)

    def again(error: BaseException, seconds: float) -> None:
        log.warning("%s: %s; trying again in %.0f s", url, _told(error), seconds)

    try:
        try_again(
            lambda: _put(file, url), attempts=attempts, lasting=_LASTING, tell=again, sleep=sleep
        )
    except Exception as error:  # noqa: BLE001  (libraries raise anything)
        raise OutputError(f"can't write {url}: {_told(error)}") from None


def _put(file: Path, url: str) -> None:
    system, path = _file_system(url)
    target = path
    if _scheme(url) not in _AT_ONCE:
        folder, _, name = path.rpartition("/")
        target = f"{folder}/.{name[:50]}.{secrets.token_hex(6)}.tmp"
        if folder:
            system.makedirs(folder, exist_ok=True)
    try:
        system.put_file(str(file), target)
        _check_size(system, target, file.stat().st_size)
        if target != path:
            system.mv(target, path)
    except BaseException:
        if target != path:
            with suppress(Exception):
                system.rm(target)
        raise


def _check_size(system: Any, path: str, size: int) -> None:
    system.invalidate_cache()
    there = system.size(path)
    if there != size:
        raise OSError(f"{there} of {size} bytes are there")


def _file_system(url: str) -> tuple[Any, str]:
    """A file system of fsspec with a connection of its own, and the path on it."""
    import fsspec

    for name, level in _TALKATIVE.items():
        logging.getLogger(name).setLevel(level)
    options: dict[str, Any] = {}
    if _scheme(url) in ("sftp", "ssh") and "host_key_policy" not in fsspec.config.conf.get(
        "sftp", {}
    ):
        from crawler.known_hosts import KnownHosts

        options["host_key_policy"] = KnownHosts()
    system, path = fsspec.core.url_to_fs(url, skip_instance_cache=True, **options)
    return system, path


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _told(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    for secret in sorted(_known_secrets(), key=len, reverse=True):
        text = text.replace(secret, "...")
    return text


def _known_secrets() -> Iterator[str]:
    """What a library may have been given, and repeats in its errors."""
    yield from (v for name, v in os.environ.items() if _SECRET.search(name) and len(v) >= 8)
    with suppress(ImportError):
        from fsspec.config import conf

        for options in conf.values():
            if isinstance(options, dict):
                for name, value in options.items():
                    if _SECRET.search(name) and isinstance(value, str) and value:
                        yield value
