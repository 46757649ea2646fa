"""Outputs elsewhere: uploaded whole or not at all, tried again, kept here if that fails."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from command_line import crawl, spider_file
from crawler.demo import PracticeSite
from crawler.errors import OutputError, UsageError
from crawler.output import check_targets, names_of, parse_target, publish_items
from crawler.remote import place_below, upload

fsspec = pytest.importorskip("fsspec", reason="the extra `remote` is not installed")

LINES = [b'{"a": 1}', '{"a": "汉"}'.encode()]
JSONL = b"\n".join(LINES) + b"\n"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's file system in memory, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def publish(url: str, folder: Path, **options: Any) -> None:
    publish_items(lambda: LINES, parse_target(url, **options), folder)


def registered() -> dict[str, Any]:
    """The file systems that fsspec has loaded; `fsspec.registry` itself can't be changed."""
    found: dict[str, Any] = importlib.import_module("fsspec.registry")._registry
    return found


# ---- What is a place ----


@pytest.mark.parametrize(
    ("text", "url", "format_name", "compression"),
    [
        ("s3://bucket/posts.json", "s3://bucket/posts.json", "json", ""),
        ("s3://bucket/{name}/{date}.csv.gz", "s3://bucket/posts/2026-11-23.csv.gz", "csv", ".gz"),
        ("sftp://me@h:2222/posts.txt:jsonl", "sftp://me@h:2222/posts.txt", "jsonl", ""),
        ("memory://posts.parquet", "memory://posts.parquet", "parquet", ""),
        ("GS://b/a.XML", "GS://b/a.XML", "xml", ""),
    ],
)
def test_a_target_may_be_a_url(text: str, url: str, format_name: str, compression: str) -> None:
    target = parse_target(text, names_of("posts", "20261123T014800Z-1a2b3c4d"))
    assert (target.url, target.path) == (url, None)
    assert (target.format, target.compression) == (format_name, compression)
    assert str(target) == url
    assert not target.is_live
    assert not target.is_stdout


@pytest.mark.parametrize(
    "text",
    [
        f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/posts.json",
        "sftp://me:secret@h/posts.json",
        "sftp://me:secret@h:2222/posts",
        "s3://key:sec/ret@bucket/posts.xls",
        "sftp://:secret@h/{nothing}.json",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(text: str, tmp_cwd: Path) -> None:
    with pytest.raises(UsageError, match="a password must not be in a URL") as caught:
        parse_target(text)
    assert not re.search("secret|AKIA|EXAMPLE|sec/ret|key:", str(caught.value))
    spider_file(tmp_cwd / "posts.py", "@spider(start=['http://127.0.0.1:9/'])\ndef posts(r): ...")
    done = crawl("run", "posts.py", "-o", text)
    assert done.returncode == 2
    assert not re.search("secret|AKIA|EXAMPLE|sec/ret|key:", done.stderr)
    assert not Path("output").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("https://x.test/posts.json?token=abcdefgh", "https://...: outputs go to files, or to s3:"),
        ("file:///tmp/posts.json", "file://...: outputs go to files"),
        ("nonsense://x/posts.json", "nonsense://x/posts.json: Protocol not known: nonsense"),
        ("s3://bucket/posts", "-o s3://bucket/posts: no suffix tells no format"),
    ],
)
def test_what_is_no_place_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_targets([parse_target(text)])
    assert complaint in str(caught.value)
    assert "abcdefgh" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "package", "complaint"),
    [
        ("s3://b/a.json", "s3fs", "s3:// needs s3fs: pip install 'crawl-in-order[s3]'"),
        ("gs://b/a.json", "gcsfs", "gs:// needs gcsfs: pip install 'crawl-in-order[gs]'"),
        ("sftp://h/a.json", "paramiko", "sftp:// needs paramiko: pip install 'crawl-in-order[sft"),
        ("memory://a.json", "fsspec", "memory:// needs fsspec: pip install 'crawl-in-order[remot"),
    ],
)
def test_a_missing_package_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, complaint: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for name in [n for n in sys.modules if n.startswith("fsspec.implementations.sftp")]:
        monkeypatch.delitem(sys.modules, name)
    for scheme in ("s3", "gs", "sftp"):
        monkeypatch.delitem(registered(), scheme, raising=False)
    with pytest.raises(UsageError) as caught:
        check_targets([parse_target(url)])
    assert complaint in str(caught.value)


def test_where_it_is_made_is_in_the_folder_and_only_for_this_url() -> None:
    folder = Path("/runs/1/uploads")
    assert place_below(folder, "s3://b/a/posts.json") == folder / "s3/b/a/posts.json"
    assert place_below(folder, "sftp://me@h//../../etc/x.json") == folder / "sftp/me@h/etc/x.json"


# ---- Uploads ----


@pytest.mark.parametrize("name", ["posts.jsonl", "folder/below/posts.jsonl"])
def test_the_file_is_there_and_nothing_else(tmp_path: Path, memory: Any, name: str) -> None:
    memory.pipe_file(f"/{name}", b"old")
    publish(f"memory://{name}", tmp_path / "uploads")
    assert memory.cat_file(f"/{name}") == JSONL
    assert memory.find("") == [f"/{name}"]
    assert list(tmp_path.iterdir()) == [], "what was made here is gone"


def test_a_table_with_a_key_goes_there_as_well(tmp_path: Path, memory: Any) -> None:
    publish("memory://posts.csv", tmp_path, key="a", csv_bom=True)
    assert memory.cat_file("/posts.csv") == b"\xef\xbb\xbf" + "a\r\n1\r\n汉\r\n".encode()


class Trouble:
    """In the place of a method of a file system: fails a number of times."""

    def __init__(self, system: Any, method: str, errors: list[Exception]) -> None:
        self.errors = errors
        self.calls = 0
        self._work = getattr(type(system), method)

    def __get__(self, system: Any, _: type) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.errors:
                raise self.errors.pop(0)
            return self._work(system, *arguments, **named)

        return call


def trouble(
    monkeypatch: pytest.MonkeyPatch, system: Any, method: str, *errors: Exception
) -> Trouble:
    made = Trouble(system, method, list(errors))
    monkeypatch.setattr(type(system), method, made)
    return made


def test_what_fails_for_a_while_is_tried_again(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"new")
    waits: list[float] = []
    errors = [ConnectionResetError("reset"), TimeoutError("late"), RuntimeError("odd")]
    put = trouble(monkeypatch, memory, "put_file", *errors)
    upload(file, "memory://posts.json", sleep=waits.append)
    assert memory.cat_file("/posts.json") == b"new"
    assert put.calls == 4
    assert [round(wait - 0.5) for wait in waits] == pytest.approx([1, 2, 4], abs=1)
    assert [m.split("; ")[0] for m in caplog.messages] == [
        "memory://posts.json: reset",
        "memory://posts.json: late",
        "memory://posts.json: odd",
    ]


@pytest.mark.parametrize(
    ("error", "calls"), [(OSError("gone"), 5), (PermissionError("no"), 1), (TypeError("x"), 1)]
)
def test_what_fails_for_good_leaves_the_old_file_and_keeps_the_new_one(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, calls: int
) -> None:
    memory.pipe_file("/posts.jsonl", b"old")
    put = trouble(monkeypatch, memory, "put_file", *[error] * 9)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(upload, "__kwdefaults__", {"attempts": 5, "sleep": lambda _: None})
    with pytest.raises(OutputError) as caught:
        publish("memory://posts.jsonl", tmp_path)
    kept = tmp_path / "memory/posts.jsonl"
    assert str(caught.value) == (
        f"can't write memory://posts.jsonl: {error}; the file is whole and stays at {kept}"
    )
    assert put.calls == calls
    assert kept.read_bytes() == JSONL
    assert memory.cat_file("/posts.jsonl") == b"old"


def test_an_upload_of_which_a_part_came_is_none(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"all of it")
    monkeypatch.setattr(type(memory), "size", lambda *_: 3)
    with pytest.raises(OutputError, match="3 of 9 bytes are there"):
        upload(file, "memory://posts.json", attempts=2, sleep=lambda _: None)


def test_elsewhere_it_is_renamed_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an upload is seen while it is made, as by SFTP; here a local folder stands for it."""
    from fsspec.implementations.local import LocalFileSystem

    class Slow(LocalFileSystem):  # type: ignore[misc]
        protocol = ("slow",)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path.removeprefix("slow://")

    monkeypatch.setitem(registered(), "slow", Slow)
    file, there = tmp_path / "a", tmp_path / "there/posts.json"
    file.write_bytes(b"new")
    upload(file, f"slow://{there}")
    assert there.read_bytes() == b"new"
    file.write_bytes(b"newer")
    trouble(monkeypatch, Slow(), "mv", OSError("no"), OSError("no"))
    with pytest.raises(OutputError):
        upload(file, f"slow://{there}", attempts=2, sleep=lambda _: None)
    assert there.read_bytes() == b"new"
    assert os.listdir(there.parent) == ["posts.json"]
    upload(file, f"slow://{there}")
    assert there.read_bytes() == b"newer"


def test_secrets_that_a_library_repeats_are_not_told(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fsspec.config import conf

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setitem(conf, "memory", {"password": "hunter2"})
    error = OSError(f"403: {SECRET} with hunter2 was refused")
    trouble(monkeypatch, memory, "put_file", *[error] * 9)
    (tmp_path / "a").touch()
    with pytest.raises(OutputError, match=r"403: \.\.\. with \.\.\. was refused") as caught:
        upload(tmp_path / "a", "memory://a.json", attempts=2, sleep=lambda _: None)
    assert caught.value.__cause__ is None
    assert SECRET not in caplog.text
    assert "hunter2" not in caplog.text


# ---- S3, by HTTP ----


class S3:
    """A server that speaks S3's protocol, empty."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.get_host_and_port()[1]}"
        requests.post(f"{self.url}/moto-api/reset", timeout=10)  # what an earlier one had

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    pytest.importorskip("s3fs", reason="the extra `s3` is not installed")
    pytest.importorskip("moto.server", reason="moto is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = S3()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield server
    server.stop()


def objects(s3: S3) -> dict[str, bytes]:
    """What stands in the bucket, asked for without any of our code."""
    import boto3

    client = boto3.client("s3", endpoint_url=s3.url)
    found = client.list_objects_v2(Bucket="bucket").get("Contents", [])
    keys = [entry["Key"] for entry in found]
    return {key: client.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys}


def make_bucket(s3: S3) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=s3.url)
    client.create_bucket(Bucket="bucket")


def everything_written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.filterwarnings("ignore")  # of boto3, about Python's dates
def test_a_crawl_to_s3_and_what_happens_when_it_is_away(
    tmp_cwd: Path, site: PracticeSite, s3: S3
) -> None:
    make_bucket(s3)
    spider_file(tmp_cwd / "posts.py", "@spider()\ndef posts(response):\n    return {'n': 1}\n")
    where = "s3://bucket/{name}/posts.jsonl"
    arguments = ("run", "posts.py", "--urls", f"{site.url}/headers", "-vv")
    done = crawl(*arguments, "-o", where)
    assert done.returncode == 0, done.stderr
    assert done.stderr.rstrip().endswith("-> s3://bucket/posts/posts.jsonl")
    assert objects(s3) == {"posts/posts.jsonl": b'{"n": 1}\n'}

    no_bucket = crawl(*arguments, "-o", "s3://bukket/posts.csv", "-o", "posts.json")
    assert no_bucket.returncode == 8, no_bucket.stderr
    assert "crawl: can't write s3://bukket/posts.csv: " in no_bucket.stderr
    (kept,) = tmp_cwd.glob("output/runs/posts/2*/uploads/s3/bukket/posts.csv")
    assert str(kept.relative_to(tmp_cwd)) in no_bucket.stderr
    assert kept.read_bytes() == b"n\r\n1\r\n"
    assert json.loads(Path("posts.json").read_bytes()) == [{"n": 1}], "others are written"

    exported = crawl("export", "posts", "-o", "s3://bucket/{run}.csv.gz")
    assert exported.returncode == 0, exported.stderr
    assert len(objects(s3)) == 2
    said = done.stderr + no_bucket.stderr + exported.stderr
    assert SECRET not in said
    assert SECRET.encode() not in everything_written(tmp_cwd / "output")
    assert b"Signature" not in everything_written(tmp_cwd / "output")


@pytest.mark.filterwarnings("ignore")  # of boto3, about Python's dates
def test_a_run_whose_upload_failed_is_resumed_by_uploading(
    tmp_cwd: Path, site: PracticeSite, s3: S3
) -> None:
    spider_file(tmp_cwd / "posts.py", "@spider()\ndef posts(response):\n    return {'n': 1}\n")
    arguments = ("run", "posts.py", "--urls", f"{site.url}/headers", "-o", "s3://bucket/a.jsonl")
    failed = crawl(*arguments)  # there is no bucket yet
    assert failed.returncode == 8, failed.stderr
    assert "`crawl resume posts` goes on from here" in failed.stderr
    make_bucket(s3)
    done = crawl("resume", "posts")
    assert done.returncode == 0, done.stderr
    assert "1 page done" in done.stderr
    assert objects(s3) == {"a.jsonl": b'{"n": 1}\n'}
    assert not list(tmp_cwd.glob("output/runs/posts/2*/uploads"))


# ---- SFTP ----


@pytest.fixture
def sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("paramiko", reason="the extra `sftp` is not installed")
    from sftp_server import Server

    (tmp_path / "there").mkdir()
    (tmp_path / "home/.ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FSSPEC_SFTP_PASSWORD", "correct horse")
    server = Server(tmp_path / "there", "correct horse")
    yield server
    server.stop()


def test_a_crawl_to_a_host_by_sftp(
    tmp_path: Path, tmp_cwd: Path, site: PracticeSite, sftp: Any
) -> None:
    spider_file(tmp_cwd / "posts.py", "@spider()\ndef posts(response):\n    return {'n': 1}\n")
    place = f"sftp://me@127.0.0.1:{sftp.port}/folder/posts.jsonl"
    arguments = ("run", "posts.py", "--urls", f"{site.url}/headers", "-vv", "-o", place)
    refused = crawl(*arguments)
    assert refused.returncode == 2, refused.stderr
    assert f"[127.0.0.1]:{sftp.port} is not in {tmp_path}/home/.ssh/known_hosts" in refused.stderr
    known_hosts = tmp_path / "home/.ssh/known_hosts"
    known_hosts.write_text(sftp.known_host())
    published = tmp_path / "there/folder/posts.jsonl"
    for _ in range(2):  # the second time there is an old file
        done = crawl(*arguments)
        assert done.returncode == 0, done.stderr
        assert published.read_bytes() == b'{"n": 1}\n'
        assert os.listdir(published.parent) == ["posts.jsonl"]
        published.write_bytes(b"old")
    wrong = crawl(*arguments, FSSPEC_SFTP_PASSWORD="wrong horse")
    assert wrong.returncode == 2, wrong.stderr
    assert "Authentication failed" in wrong.stderr
    assert published.read_bytes() == b"old"
    said = refused.stderr + done.stderr + wrong.stderr
    assert "horse" not in said
    assert "Traceback" not in said
    assert b"horse" not in everything_written(tmp_cwd / "output")


def test_a_host_with_another_key_is_refused(tmp_path: Path, sftp: Any) -> None:
    import paramiko

    other = paramiko.ECDSAKey.generate()
    line = f"[127.0.0.1]:{sftp.port} {other.get_name()} {other.get_base64()}\n"
    (tmp_path / "home/.ssh/known_hosts").write_text(line)
    with pytest.raises(UsageError, match=r"has another key than in .*; connect to it by ssh once"):
        check_targets([parse_target(f"sftp://me@127.0.0.1:{sftp.port}/a.json")])
