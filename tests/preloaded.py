"""Python programs whose imports are done already: real processes, forked from one that has imported them.

An interpreter that imports Celery and the exporter works for a second before it does anything, and the suite starts
hundreds. What a program does after its imports, its process group, environment, working directory, output, signals
and exit code are those of ``python -m module``. Tests of what is imported when start interpreters of their own.
"""

import atexit
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NoReturn

_ROOT: Final = str(Path(__file__).resolve().parents[1])
_IMPORTS: Final = (
    "celery.app.control",
    "celery.app.log",
    "celery.apps.worker",
    "celery.backends.base",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.concurrency.solo",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "celery_metrics_exporter.app",
    "celery_metrics_exporter.cli.main",
    "celery_metrics_exporter.cli.celery_command",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "encodings.idna",
)
#: Their pools of green threads replace parts of the standard library before anything else is imported.
_FIRST: Final = {"eventlet", "gevent"}
_ORDER_BYTES: Final = 1 << 18
#: Threads that start programs at once start one process to fork them from.
_ONE_SOURCE: Final = threading.Lock()


def is_preloaded(argv: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether :class:`Preloaded` can start this command: it runs a module, and brings no modules of its own."""
    runs_a_module = tuple(argv[:2]) == (sys.executable, "-m") and not _FIRST & {*argv}
    return runs_a_module and env.get("PYTHONPATH", _ROOT) == _ROOT


class Preloaded:
    """A started program; offers what this suite uses of :class:`subprocess.Popen`.

    ``argv`` is a command for which :func:`is_preloaded` holds, ``env`` the whole environment, ``stdout`` and
    ``stderr`` are file descriptors. The program leads a process group of its own and reads nothing.
    """

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None, stdout: int, stderr: int
    ) -> None:
        order = json.dumps({"argv": list(argv[2:]), "env": dict(env), "cwd": str(cwd or Path.cwd())})
        # Two messages: the process id, and the exit code in the end.
        self._news, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with told, _ONE_SOURCE:
            socket.send_fds(_source(), [order.encode()], [told.fileno(), stdout, stderr])
        self.returncode: int | None = None
        self.pid = int(self._news.recv(100))

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal; None while it runs."""
        return self._end(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; raises subprocess.TimeoutExpired."""
        code = self._end(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def _end(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._news], [], [], timeout)[0]:
            self.returncode = int(self._news.recv(100))
            self._news.close()
        return self.returncode


def run(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, preloaded if it can be; what it wrote is kept apart."""
    if not is_preloaded(argv, env):
        return subprocess.run(
            argv, env=env, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False
        )
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        program = Preloaded(argv, env=env, cwd=cwd, stdout=stdout.fileno(), stderr=stderr.fileno())
        try:
            code = program.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            raise
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(argv, code, stdout.read(), stderr.read())


@cache
def _source() -> socket.socket:
    """Start the process that programs are forked from, once in this one; it ends when this one does."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        its.set_inheritable(True)
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0)
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "tests.preloaded", str(its.fileno())],
            {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": _ROOT, "PYTHONUNBUFFERED": "1"},
            file_actions=[nothing, (os.POSIX_SPAWN_DUP2, 0, 1)],
            setsid=True,
        )
    atexit.register(ours.close)
    return ours


def _run_orders(orders: socket.socket) -> NoReturn:
    """Fork a program for each order, until nobody can send any; returns only in a program, and at its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for the programs
    while True:
        order, files, _, _ = socket.recv_fds(orders, _ORDER_BYTES, 3)
        if not order:
            os._exit(0)
        if os.fork() == 0:
            break
        for file in files:
            os.close(file)
    orders.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told, *outputs = files
    pid = os.fork()
    if pid:
        os.write(told, b"%d" % pid)
        _, status = os.waitpid(pid, 0)
        os.write(told, b"%d" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.setsid()
    os.close(told)
    for number, file in enumerate(outputs, start=1):
        os.dup2(file, number)
        os.close(file)
    _run(**json.loads(order))


def _run(argv: list[str], env: dict[str, str], cwd: str) -> NoReturn:
    """Do what ``python -m`` does, up to its end."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    paths = [_ROOT] if "PYTHONPATH" in env else []
    sys.path[:] = [cwd, *paths, *(path for path in sys.path if path != _ROOT)]
    sys.argv[:] = argv
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    file = int(sys.argv[1])
    os.closerange(3, file)  # what a shell may have left open
    os.closerange(file + 1, os.sysconf("SC_OPEN_MAX"))
    for name in _IMPORTS:
        importlib.import_module(name)
    _run_orders(socket.socket(fileno=file))
