"""A subscriber that throws everything away, to learn what can be offered: ``python -m benchmarks.load.sink``."""

import socket
import sys
from urllib.parse import urlsplit

from benchmarks.wire import redis_command


def main() -> None:
    """Read for ever."""
    address = urlsplit(sys.argv[1])
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(redis_command(b"PSUBSCRIBE", b"/0.celeryev/*"))
        buffer = bytearray(1 << 20)
        while connection.recv_into(buffer):
            pass


if __name__ == "__main__":
    main()
