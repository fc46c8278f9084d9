"""A device as far as adb's first words go. usage: greeting.py PORT device|locked|silent

`locked` asks for a signature, refuses it, and shows the key that comes then to a user who is not there. The
messages are those of Android's packages/modules/adb/protocol.txt: six numbers of 32 bits, then data.
"""

from __future__ import annotations

import socket
import struct
import sys

HEADER = struct.Struct("<4sIIIII")
VERSION, MOST_BYTES = 0x01000000, 4096
TOKEN, SIGNATURE = 1, 2  # kinds of AUTH: here is something to sign; here it is, signed


def message(command: bytes, first: int, second: int, data: bytes) -> bytes:
    check = int.from_bytes(command, "little") ^ 0xFFFFFFFF
    return HEADER.pack(command, first, second, len(data), sum(data), check) + data


def received(client: socket.socket) -> tuple[bytes, int]:
    """Command and first number of the next message; no command when the other side has gone."""
    head = client.recv(HEADER.size, socket.MSG_WAITALL)
    if len(head) < HEADER.size:
        return b"", 0
    command, first, _, size, _, _ = HEADER.unpack(head)
    client.recv(size, socket.MSG_WAITALL)
    return command, first


def serve(client: socket.socket, answer: str) -> None:
    command, first = received(client)
    while command:
        greeted = command == b"CNXN"
        if answer == "device" and greeted:
            client.sendall(message(b"CNXN", VERSION, MOST_BYTES, b"device::ro.product.model=Other;\0"))
        if answer == "locked" and (greeted or (command, first) == (b"AUTH", SIGNATURE)):
            client.sendall(message(b"AUTH", TOKEN, 0, bytes(range(20))))
        command, first = received(client)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    sys.stdout.write("listens\n")
    sys.stdout.flush()
    while True:
        client, _ = listener.accept()
        with client:
            serve(client, sys.argv[2])


if __name__ == "__main__":
    main()
