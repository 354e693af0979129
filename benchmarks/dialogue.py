"""A Python process of the benchmarks that is told what to do, and answers in JSON.

Owns: the pipes to it. Must not know: what it does.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Self

from tests.integration.servers.exporter import REPOSITORY


class Dialogue:
    """One line for an order, one line for an answer; the first answer may come unasked.

    Attributes:
        pid: of the process.
    """

    def __init__(self, module: str, pid: int, orders: IO[str], answers: IO[str]) -> None:
        self.pid = pid
        self._module = module
        self._orders = orders
        self._answers = answers

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

    def order(self, *words: object) -> Any:
        """Give an order; returns its answer."""
        self._orders.write(" ".join(map(str, words)) + "\n")
        self._orders.flush()
        return self.answer()

    def answer(self) -> Any:
        """Wait for an answer."""
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended before its time")
        return json.loads(line)


def answer(value: object) -> None:
    """Give an answer: for the other side."""
    print(json.dumps(value), flush=True)


def orders() -> Iterator[list[str]]:
    """Yield each order, in words, until there will be no more: for the other side."""
    for line in sys.stdin:
        yield line.split()
