"""A name server for tests: `python name_server.py ADDRESS` answers queries at its port 53."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time

NO_ERROR, SERVER_FAILED, NO_SUCH_NAME = 0, 2, 3
A = 1


def answer(query: bytes) -> bytes | None:
    """By the first label of the name: `nx`, `broken`, `silent`, `slow`, `many`; all others good."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12 : at + 5]
    (kind,) = struct.unpack(">H", query[at + 1 : at + 3])
    code, addresses = NO_ERROR, ["127.0.0.1"]
    match labels[0]:
        case "nx":
            code, addresses = NO_SUCH_NAME, []
        case "broken":
            code, addresses = SERVER_FAILED, []
        case "silent":
            return None
        case "slow":
            time.sleep(0.7)
        case "many":  # nobody listens at any but the last
            addresses = [*(f"127.0.1.{number}" for number in range(20)), "127.0.0.1"]
    if kind != A:
        addresses = []
    records = [
        b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 60, 4) + socket.inet_aton(address)
        for address in addresses
    ]
    head = query[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(records), 0, 0)
    return head + question + b"".join(records)


if __name__ == "__main__":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((sys.argv[1], 53))
        print("ready", flush=True)

        def serve(received: bytes, client: tuple[str, int]) -> None:
            sent = answer(received)
            if sent is not None:
                server.sendto(sent, client)

        while True:
            threading.Thread(target=serve, args=server.recvfrom(4096)).start()
