"""The processes of a recording: an environment with one Celery version, its workers and its publisher."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFORK = "prefork@recorder"
REPORTS = "reports@recorder"
AUDIT = "audit@recorder"
NODE_NAMES = (PREFORK, REPORTS, AUDIT)

_STOP_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Versions installed together: the last patch of a Celery series with what was current beside it."""

    celery: str
    kombu: str
    billiard: str
    threads: bool = True
    """Whether a worker with threads can be recorded. Up to 5.6 it loses most of its events:
    threads append to the buffer that EventDispatcher.flush (celery/events) publishes and then clears."""

    @property
    def workers(self) -> Mapping[str, tuple[str, ...]]:
        """Node name -> options of its worker; no two workers share a queue."""
        pool = "threads" if self.threads else "solo"
        return {
            PREFORK: ("--pool=prefork", "--concurrency=2", "--queues=orders,emails"),
            REPORTS: (f"--pool={pool}", "--concurrency=2", "--queues=reports"),
            AUDIT: ("--pool=solo", "--queues=audit"),
        }


@dataclass(frozen=True, slots=True)
class Environment:
    """A folder with a virtual environment and copies of the two modules that run in it."""

    folder: Path
    broker_url: str

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.folder / "venv" / "bin" / "python"

    @property
    def variables(self) -> dict[str, str]:
        """What its processes find in their environment; nothing of ours leaks into them."""
        inherited = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
        # half an hour off any whole one: up to 5.6 utcoffset is an int, since 5.7 a float
        own = {"RECORDING_BROKER_URL": self.broker_url, "TMPDIR": str(self.folder), "TZ": "IST-5:30"}
        return inherited | own

    def versions(self) -> dict[str, str]:
        """Name -> version of what shapes the events."""
        names = ("celery", "kombu", "billiard", "redis")
        code = (
            "import json, platform; from importlib.metadata import version;"
            f"print(json.dumps({{'python': platform.python_version()}} | {{n: version(n) for n in {names}}}))"
        )
        answer = subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True)
        versions: dict[str, str] = json.loads(answer.stdout)
        return versions


def create(folder: Path, broker_url: str, release: Release) -> Environment:
    """Make the environment in ``folder``, or bring one that is there already up to the release."""
    environment = Environment(folder, broker_url)
    if not environment.python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    requirements = (
        f"celery[redis]=={release.celery}",
        f"kombu=={release.kombu}",
        f"billiard=={release.billiard}",
        "packaging",  # kombu's redis transport imports it, celery[redis] does not bring it
    )
    pip = (environment.python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, "install", *requirements], check=True)
    for module in ("workload.py", "client.py"):
        shutil.copy(Path(__file__).parent / module, folder)
    return environment


@contextmanager
def workers(environment: Environment, release: Release) -> Iterator[None]:
    """Start the workers; leaving the block shuts them down warmly."""
    processes = {}
    try:
        for name, options in release.workers.items():
            celery = (str(environment.python), "-m", "celery", "--app=workload")
            with (environment.folder / f"{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen(
                    [*celery, "worker", "--task-events", f"--hostname={name}", "--loglevel=INFO", *options],
                    cwd=environment.folder,
                    env=environment.variables,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        yield
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for process in processes.values():
            _wait(process)


def _wait(process: "subprocess.Popen[Any]") -> None:
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Client:
    """The publisher; ``call`` is answered by the function of that name in ``client.py``."""

    def __init__(self, environment: Environment) -> None:
        self._log = environment.folder / "client.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [environment.python, "client.py"],
                cwd=environment.folder,
                env=environment.variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def call(self, name: str, **arguments: object) -> object:
        """Have a function called and return its answer; RuntimeError if the client died of it."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the client has no pipes")
        self._process.stdin.write(json.dumps({"call": name, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the client ended in {name}({arguments}): {self._log.read_text()}")
        return json.loads(line)["answer"]

    def close(self) -> None:
        """Let the process end by itself, at the end of its input."""
        with self._process:
            if self._process.stdin is not None:
                self._process.stdin.close()
            _wait(self._process)
