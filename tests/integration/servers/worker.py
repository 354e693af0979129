"""A real Celery worker, started from the command line."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.integration.servers.process import ServerProcess
from tests.integration.servers.programs import worker_python

_START_S = 60.0
_STOP_S = 60.0


class CeleryWorker:
    """``python -m celery -A app worker`` in a process group of its own; a context manager.

    ``app`` is an importable ``module:attribute``; ``env`` tells it its broker (Celery reads CELERY_BROKER_URL).
    ``hostname`` is the part of the nodename before ``@localhost``. ``events`` is ``-E``: send task events.
    ``arguments`` go to the worker as they are; by default it skips gossip and mingle, which only cost time here.
    ``within`` is a command that runs it, such as one that makes a namespace.
    """

    def __init__(
        self,
        folder: Path,
        app: str,
        *,
        hostname: str = "worker",
        pool: str = "prefork",
        concurrency: int = 2,
        queues: Sequence[str] = ("celery",),
        env: Mapping[str, str] | None = None,
        events: bool = True,
        arguments: Sequence[str] = ("--without-gossip", "--without-mingle"),
        within: Sequence[str] = (),
        loglevel: str = "INFO",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.nodename = f"{hostname}@localhost"
        self._loglevel = loglevel
        argv = [
            *within,
            worker_python(),
            "-m",
            "celery",
            "-A",
            app,
            "worker",
            "--loglevel",
            loglevel,
            "--hostname",
            self.nodename,
        ]
        argv += ["--pool", pool, "--concurrency", str(concurrency), "--queues", ",".join(queues), *arguments]
        if events:
            argv.append("--task-events")
        self.process = ServerProcess(
            argv, log=folder / f"{hostname}.log", env=clean_environment(env), cwd=REPOSITORY
        )

    @property
    def pid(self) -> int:
        """The worker's main process id, as its events carry it."""
        return self.process.pid

    @property
    def output(self) -> str:
        """Everything that the worker logged so far."""
        return self.process.output

    def start(self) -> None:
        """Start it; returns when it consumes its queues."""
        # celery/apps/worker.py, Worker.on_consumer_ready
        ready = f"{self.nodename} ready." if self._loglevel == "INFO" else "[queues]"
        before = self.output.count(ready)
        self.process.start()
        self.process.wait_until(
            lambda: self.output.count(ready) > before,
            timeout=_START_S,
            what=f"a ready worker {self.nodename}",
        )

    def stop(self, *, graceful: bool = True) -> int | None:
        """Warm shutdown (SIGTERM: finish running tasks, say worker-offline), else cold (SIGQUIT)."""
        number = signal.SIGTERM if graceful else signal.SIGQUIT
        return self.process.stop(timeout=_STOP_S, number=number)

    def kill(self) -> None:
        """End the worker and its pool without a farewell (SIGKILL): a lost worker."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze the worker and its pool: heartbeats stop."""
        self.process.pause()

    def resume(self) -> None:
        """Let the frozen worker go on."""
        self.process.resume()

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Warm shutdown; after a failure at once."""
        if error is None:
            self.stop()
        else:
            self.kill()
