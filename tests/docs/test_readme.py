"""The commands of the README and of docs/getting-started.md, run word for word: a newcomer's environment, real brokers.

The ports are those that the pages name. The lines of metrics that the README shows are looked for in the demo.

A command that needs what no test machine has (a container engine, a cluster) stands in `ELSEWHERE` with the tests
that hold its parts.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from celery_metrics_exporter import __version__
from tests.docs.network import PrivateNetwork, may_have_network
from tests.docs.pages import ROOT, blocks, commands_of
from tests.integration.servers import RabbitMQ, Valkey, require
from tests.integration.servers.exporter import clean_environment
from tests.integration.servers.process import ServerProcess

pytestmark = pytest.mark.slow

PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
STARTED = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
COMMANDS = {*commands_of(PAGE), *commands_of(STARTED)}
(LINES,) = blocks(PAGE, "text")
METRICS = "http://localhost:9808/metrics"

# Commands that serve metrics until they are stopped, and what is seen there when they work.
SERVING: Mapping[str, str] = {
    "make demo": "celery_task_succeeded_total{",
    "celery-exporter --broker-url redis://localhost:6379/0": "celery_exporter_receiver_connected 1.0",
    "celery-exporter --broker-url amqp://user:password@localhost:5672/vhost": "celery_exporter_receiver_connected 1.0",
    "celery -A proj exporter": 'celery_task_succeeded_total{queue="celery",task="proj.celery.add"} 0.0',
    "celery-exporter --app proj.celery:app": 'celery_task_succeeded_total{queue="celery",task="proj.celery.add"} 0.0',
}
ELSEWHERE: Mapping[str, str] = {
    "make test": "this run; .ci/run calls it",
    "python3 -m venv /opt/celery-exporter": "the newcomer below has such an environment, elsewhere",
    "source <(celery-exporter completion --shell bash)": "tests/docs/test_commands.py",
    "docker build --tag celery-exporter .": "tests/image, and `make image-check`",
    "docker run --rm --publish 9808:9808 --env CELERY_EXPORTER_BROKER_URL celery-exporter": "`make image-check`",
    "kubectl create secret generic celery-exporter-broker --from-file=broker-url": "tests/helm mounts such a secret",
    "docker compose up --build": "tests/alerts/test_compose.py, and `make image-check` builds the image",
    "helm install celery-exporter helm/celery-exporter --set broker.existingSecret.name=celery-exporter-broker": (
        "tests/helm renders and validates the chart"
    ),
}
DOCTOR = "celery-exporter doctor --broker-url redis://localhost:6379/0"
INSTALL = "pip install ."

_INSTALL_S = 240.0
_SERVE_S = 90.0

# The application that `celery -A proj` finds.
APP = """
from celery import Celery

app = Celery("proj", broker="redis://localhost:6379/0")


@app.task
def add(x, y):
    return x + y
"""


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkout, a project, and an environment in which `pip install .` was run as it stands."""
    folder = tmp_path_factory.mktemp("newcomer")
    checkout = folder / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    (folder / "proj").mkdir()
    (folder / "proj" / "__init__.py").touch()
    (folder / "proj" / "celery.py").write_text(APP, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    installed = subprocess.run(
        ["bash", "-c", INSTALL],
        cwd=checkout,
        env={**within(folder), "PIP_CONSTRAINT": str(ROOT / "constraints.txt")},
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
        check=False,
    )
    if "connection broken" in installed.stderr and os.environ.get("CI") != "true":
        pytest.skip("pip cannot reach its package index")
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQ) -> Iterator[PrivateNetwork]:
    """A network where Redis is at localhost:6379, and RabbitMQ with user, password and vhost at localhost:5672."""
    require("valkey")
    if not may_have_network():
        pytest.skip("no network namespace may be made here")
    rabbitmq.add_vhost("vhost")
    rabbitmq.add_user("user", "password")
    rabbitmq.set_permissions("vhost", "user")
    folder = tmp_path_factory.mktemp("network")
    with Valkey(folder / "valkey") as valkey, PrivateNetwork(folder) as private:
        private.let_in(6379, valkey.port)
        private.let_in(5672, rabbitmq.port)
        yield private


def within(folder: Path) -> dict[str, str]:
    """The newcomer's environment variables."""
    path = os.pathsep.join((str(folder / "venv" / "bin"), "/usr/local/bin", "/usr/bin", "/bin"))
    return {**clean_environment(), "PATH": path}


def series(text: str) -> set[str]:
    """The series of an exposition: names and labels without values; every worker is on one host."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {re.sub(r"@[^\"]+", "@host", line.rpartition(" ")[0]) for line in lines}


def test_the_readme_shows_ten_lines() -> None:
    """The demo below has each of them."""
    assert len(LINES.splitlines()) == len(series(LINES)) == 10


def test_every_command_is_known() -> None:
    """No command of the pages is left out here, and none here is gone from them."""
    assert {*SERVING, *ELSEWHERE, DOCTOR, INSTALL} == COMMANDS


def test_installing_gives_the_command(newcomer: Path) -> None:
    """`pip install .` brings all that the command needs, and nothing of the development environment."""
    told = subprocess.run(
        ["bash", "-c", "celery-exporter --version && celery-exporter --broker-url memory:// --check-config"],
        cwd=newcomer,
        env=within(newcomer),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == f"celery-exporter {__version__}\nconfiguration is valid\n"


@pytest.mark.parametrize("command", SERVING)
def test_command_serves(command: str, newcomer: Path, network: PrivateNetwork, tmp_path: Path) -> None:
    """It serves what the page says, where the page says, and Ctrl-C ends it."""
    running = ServerProcess(
        network.command("bash", "-c", f"exec {command}"),
        log=tmp_path / "output",
        env=within(newcomer) | ({"CELERY_EXPORTER_LOG_LEVEL": "warning"} if command == "make demo" else {}),
        cwd=ROOT if command.startswith("make") else newcomer,
    )
    try:
        running.start()
        running.wait_until(
            lambda: SERVING[command] in network.get(METRICS), timeout=_SERVE_S, what=f"{SERVING[command]!r}"
        )
        assert "<html" in network.get("http://localhost:9808/")
        if command == "make demo":
            seen: set[str] = set()

            def has_all_lines() -> bool:
                seen.update(series(network.get(METRICS)))
                return series(LINES) <= seen

            running.wait_until(has_all_lines, timeout=_SERVE_S, what="each line of the README in the demo")
        os.killpg(running.pid, signal.SIGINT)
        ended = running.stop(timeout=20.0, number=signal.SIGINT)
    finally:
        running.kill()
    # make says itself that it was interrupted.
    assert ended in ((0, 2, -signal.SIGINT) if command.startswith("make") else (0,)), running.describe()


def test_doctor_finds_what_is_missing(newcomer: Path, network: PrivateNetwork) -> None:
    """Redis is there and no worker is: the command says so, with what to do, and exit code 1."""
    told = subprocess.run(
        network.command("bash", "-c", DOCTOR),
        cwd=newcomer,
        env=within(newcomer) | {"CELERY_EXPORTER_WAIT": "2s"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 1, told.stdout + told.stderr
    assert "celery worker" in told.stdout or "celery -A" in told.stdout
