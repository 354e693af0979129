"""A Python process of the benchmarks that takes requests on standard input and replies in JSON on standard output."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Self

from tests.integration.servers.exporter import REPOSITORY


class ChildProcess:
    """One line per request, one line per reply; the first reply may come without a request.

    Attributes:
        pid: of the process.
    """

    def __init__(self, module: str, pid: int, requests: IO[str], replies: IO[str]) -> None:
        self.pid = pid
        self._module = module
        self._requests = requests
        self._replies = replies

    @classmethod
    @contextmanager
    def started(cls, module: str, *arguments: object) -> Iterator[Self]:
        """Run a module; it ends with the context."""
        command = [sys.executable, "-m", module, *map(str, arguments)]
        with subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("a process without pipes")
            try:
                yield cls(module, process.pid, process.stdin, process.stdout)
            finally:
                process.kill()

    def request(self, *words: object) -> Any:
        """Send a request; returns the reply."""
        self._requests.write(" ".join(map(str, words)) + "\n")
        self._requests.flush()
        return self.read_reply()

    def read_reply(self) -> Any:
        """Wait for a reply."""
        line = self._replies.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended before its time")
        return json.loads(line)


def reply(value: object) -> None:
    """Send a reply, in the child process."""
    print(json.dumps(value), flush=True)


def requests() -> Iterator[list[str]]:
    """Yield the words of each request until the input ends, in the child process."""
    for line in sys.stdin:
        yield line.split()
