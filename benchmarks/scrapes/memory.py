"""Memory of scrapes of a large page: what stays after them, and what clients that do not take theirs hold."""

import sys
from contextlib import ExitStack
from socket import SO_RCVBUF, SOL_SOCKET, create_connection
from typing import Final

from benchmarks.child import ChildProcess
from benchmarks.results import Result, Table, Value
from benchmarks.scrapes.measure import fetch
from benchmarks.settings import Settings
from benchmarks.usage import held_memory
from tests.integration.servers import HOST

SERIES: Final = 300_000
#: Scrapes in each way, each over a connection of its own; and clients that do not take their page.
SCRAPES: Final = 24
CLIENTS: Final = 40
_MEGA: Final = 1e6
_SECONDS: Final = 60.0
_SCRAPE: Final = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
_COLUMNS: Final = {"after": "", "RSS MB": ",.0f", "more than before, MB": ",.0f"}


def measure(_settings: Settings) -> Result:
    """Scrape one registry again and again; between two scrapes it changes."""
    with (
        ChildProcess.started("benchmarks.scrapes.server", f"--series={SERIES}") as server,
        ExitStack() as clients,
    ):
        greeting = server.read_reply()
        port = greeting["ports"][0]
        before = held_memory(server.pid)
        rows: list[list[Value]] = []
        page = 0

        def note(what: str) -> None:
            held = held_memory(server.pid)
            rows.append([what, held / _MEGA, (held - before) / _MEGA])
            print(what, held, file=sys.stderr)

        for coding in ("gzip", "identity"):
            for number in range(1, SCRAPES + 1):
                server.request("change")
                page = fetch(port, {"Accept-Encoding": coding})[1]
                if number in {1, SCRAPES // 2, SCRAPES}:
                    note(f"{number} scrapes, {coding}")
        for _client in range(CLIENTS):
            client = clients.enter_context(create_connection((HOST, port), timeout=_SECONDS))
            client.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
            client.sendall(_SCRAPE)
            client.recv(1)
        note(f"{CLIENTS} clients that do not take their page")
    return Result(
        facts={
            "series": greeting["series"],
            "page, MB": page / _MEGA,
            "RSS before, the registry's series included, MB": before / _MEGA,
        },
        tables=[Table(_COLUMNS, rows)],
    )
