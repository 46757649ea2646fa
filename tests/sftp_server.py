"""A server that speaks SFTP, for one user with a password, who sees one folder."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import paramiko
from paramiko import SFTPAttributes, SFTPHandle, SFTPServer, SFTPServerInterface


class _Login(paramiko.ServerInterface):  # type: ignore[misc]
    def __init__(self, password: str) -> None:
        self._password = password

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        is_right = (username, password) == ("me", self._password)
        return int(paramiko.AUTH_SUCCESSFUL if is_right else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class _Files(SFTPServerInterface):  # type: ignore[misc]
    def __init__(self, server: Any, root: Path) -> None:
        self._root = root

    def _real(self, path: str) -> Path:
        return Path(self._root, str(self.canonicalize(path)).lstrip("/"))

    def _do(self, work: Any, *arguments: Any) -> Any:
        try:
            return work(*arguments)
        except OSError as error:
            return SFTPServer.convert_errno(error.errno or 0)

    def stat(self, path: str) -> Any:
        return self._do(lambda: SFTPAttributes.from_stat(self._real(path).stat()))

    lstat = stat

    def list_folder(self, path: str) -> Any:
        def listed() -> list[Any]:
            entries = sorted(self._real(path).iterdir())
            return [SFTPAttributes.from_stat(each.stat(), each.name) for each in entries]

        return self._do(listed)

    def open(self, path: str, flags: int, attr: Any) -> Any:
        def opened() -> Any:
            number = os.open(self._real(path), flags, 0o666)
            file = os.fdopen(number, "wb" if flags & os.O_WRONLY else "rb")
            handle = SFTPHandle(flags)
            handle.readfile = handle.writefile = file
            handle.stat = lambda: SFTPAttributes.from_stat(os.fstat(file.fileno()))
            return handle

        return self._do(opened)

    def _done(self, work: Any, *arguments: Any) -> Any:
        failed = self._do(work, *arguments)
        return paramiko.SFTP_OK if failed is None else failed

    def remove(self, path: str) -> Any:
        return self._done(self._real(path).unlink)

    def mkdir(self, path: str, attr: Any) -> Any:
        return self._done(self._real(path).mkdir)

    def rename(self, old: str, new: str) -> Any:
        """As the protocol has it: not over a file that is there."""
        if self._real(new).exists():
            return paramiko.SFTP_FAILURE
        return self.posix_rename(old, new)

    def posix_rename(self, old: str, new: str) -> Any:
        return self._done(lambda: self._real(old).replace(self._real(new)) and None)

    def chattr(self, path: str, attr: Any) -> Any:
        return paramiko.SFTP_OK


class Server:
    """Listens on a port of 127.0.0.1 until it is stopped."""

    def __init__(self, root: Path, password: str) -> None:
        self.key = paramiko.ECDSAKey.generate()
        self._root, self._password = root, password
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._transports: list[Any] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def known_host(self) -> str:
        """A line for known_hosts."""
        return f"[127.0.0.1]:{self.port} {self.key.get_name()} {self.key.get_base64()}\n"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.key)
            transport.set_subsystem_handler("sftp", SFTPServer, _Files, self._root)
            # With an event it doesn't wait for the client, which may hang up at once.
            transport.start_server(event=threading.Event(), server=_Login(self._password))
            self._transports.append(transport)

    def stop(self) -> None:
        """Also those connections that are open."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for transport in self._transports:
            transport.close()
