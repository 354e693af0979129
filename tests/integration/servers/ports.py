"""Free loopback ports for real servers."""

import os
import random
import socket

HOST = "127.0.0.1"

# Below the range from which Linux takes the ports of outgoing connections (ip_local_port_range starts at 32768),
# so that a port found free cannot be taken by a client before its server listens on it. Processes of pytest-xdist
# (gw0, gw1, ...) take turns in it, so that none is given twice.
_PROCESSES = 8
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
_PORTS = range(20_000 + _PROCESS, 32_000, _PROCESSES)
_ATTEMPTS = 200

# Handed out already: a port stays free until its server starts, while another thread may ask for one.
_given: set[int] = set()


def free_port() -> int:
    """Find a TCP port on 127.0.0.1 that nobody listens on; by chance, so that parallel runs do not meet."""
    for _ in range(_ATTEMPTS):
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            # A server that restarts on its port must not be stopped by old connections in TIME_WAIT.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in _given:  # each step is one operation of the interpreter: no thread gets the same port
            _given.add(port)
            return port
    message = f"no free port between {_PORTS.start} and {_PORTS.stop}"
    raise RuntimeError(message)
