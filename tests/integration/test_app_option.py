"""--app: a project's own application says where the broker is and how its events are sent."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.known_counts import expected, submit, wait_until_counted, wait_until_receiving
from tests.integration.known_tasks import APP, environment
from tests.integration.nowhere import broker_of_complaint, nowhere
from tests.integration.servers import CeleryWorker, ExporterProcess, Valkey
from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.serving import fetch
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

PROJECT = "tests.integration.project"
PASSWORD = "known-to-nobody"

_PACK = "from tests.integration.project.tasks import pack; [pack.delay(number) for number in range(4)]"


def test_a_project(broker_url: str, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """Broker, transport options, exchanges of events and of remote control are those of the project."""
    env = {"PROJECT_BROKER": broker_url}
    worker = start_worker(PROJECT, pool="solo", events=False, queues=["project-tasks"], env=env)
    exporter = start_exporter("--app", PROJECT, env=env)
    wait_until_receiving(exporter)
    worker.process.wait_until(
        lambda: "Events of group {task} enabled by remote." in worker.output,
        timeout=10,
        what="a worker that was asked for task events over the project's control exchange",
    )
    code = f"import {PROJECT}.celery as project; project.app.set_default(); {_PACK}"
    subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(env), cwd=REPOSITORY, check=True, timeout=30
    )
    labels = {"task": f"{PROJECT}.tasks.pack", "queue": "project-tasks"}
    names = [f"celery_task_{kind}_total" for kind in ("sent", "received", "started", "succeeded")]
    wait_for(
        lambda: [exporter.value(name, **labels) for name in names] == [4] * 4,
        timeout=10,
        what=lambda: f"4 tasks:\n{exporter.text()}",
    )
    worker.kill()


@pytest.mark.parametrize(
    "name",
    [PROJECT, f"{PROJECT}.celery", f"{PROJECT}.celery:app", f"{PROJECT}.celery.app", f"{PROJECT}:celery_app"],
)
def test_ways_to_name_the_application(start_exporter: StartExporter, name: str) -> None:
    """The application is found under each name that the command celery takes."""
    url = nowhere()
    assert broker_of_complaint(start_exporter("-A", name, env={"PROJECT_BROKER": url})) == url


def test_an_application_in_the_current_folder(
    valkey: Valkey, tmp_path: Path, start_exporter: StartExporter
) -> None:
    """A project is found where the exporter is started, and the environment can name it."""
    folder = tmp_path / "exporter-1"  # where the fixture starts its first exporter
    folder.mkdir()
    (folder / "herenow.py").write_text(
        f"from celery import Celery\napp = Celery('x', broker={valkey.url!r})\n"
    )
    wait_until_receiving(start_exporter(env={"CELERY_EXPORTER_APP": "herenow"}))


def test_an_option_beats_the_application_and_celerys_variable(
    valkey: Valkey, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """--broker-url wins over the application's broker, and over CELERY_BROKER_URL, which Celery itself lets win."""
    env = {**environment({"broker_url": nowhere()}), "CELERY_BROKER_URL": nowhere()}
    exporter = start_exporter("--app", APP, "--broker-url", valkey.url, env=env)
    wait_until_receiving(exporter)
    settings = {"broker_url": valkey.url}
    worker = start_worker(APP, pool="solo", events=False, env=environment(settings))
    worker.process.wait_until(
        lambda: "enabled by remote" in worker.output,
        timeout=10,
        what="a worker that was asked for task events",
    )
    submit(settings)
    wait_until_counted(exporter, expected())
    worker.kill()


@pytest.mark.parametrize(
    "variables",
    [
        {"CELERY_BROKER_URL": "lower", "CELERY_EXPORTER_BROKER_URL": "higher"},
        {"CELERY_BROKER_URL": "higher"},
        {"CELERY_BROKER_READ_URL": "lower", "CELERY_BROKER_URL": "higher"},
        {"CELERY_BROKER_READ_URL": "lower", "CELERY_EXPORTER_BROKER_URL": "higher"},
    ],
    ids=" and ".join,
)
def test_variables_beat_the_application(start_exporter: StartExporter, variables: dict[str, str]) -> None:
    """Our own variable wins over CELERY_BROKER_URL, and that over the application and Celery's others."""
    urls = {"higher": nowhere(), "lower": nowhere()}
    env = {
        **environment({"broker_url": nowhere()}),
        **{name: urls[rank] for name, rank in variables.items()},
    }
    assert broker_of_complaint(start_exporter("--app", APP, env=env)) == urls["higher"]


def test_celerys_variable_without_an_application(start_exporter: StartExporter) -> None:
    """CELERY_BROKER_URL is enough to start with, and --broker-url wins over it."""
    of_variable, of_option = nowhere(), nowhere()
    env = {"CELERY_BROKER_URL": of_variable}
    assert broker_of_complaint(start_exporter(env=env)) == of_variable
    assert broker_of_complaint(start_exporter("--broker-url", of_option, env=env)) == of_option


def test_the_url_for_reading_wins_within_the_application(start_exporter: StartExporter) -> None:
    """Of an application with broker_read_url, that is where events are read."""
    url = nowhere()
    settings = {"broker_url": nowhere(), "broker_read_url": url}
    assert broker_of_complaint(start_exporter("--app", APP, env=environment(settings))) == url


def test_a_list_of_brokers(valkey: Valkey, start_exporter: StartExporter) -> None:
    """An application's list of brokers is tried until one answers."""
    settings = {"broker_url": [nowhere(), valkey.url]}
    wait_until_receiving(start_exporter("--app", APP, env=environment(settings)))


def test_secrets_of_the_application_are_not_shown(start_exporter: StartExporter) -> None:
    """The password in the application's broker URL is in no log line and on no page."""
    settings = {
        "broker_url": nowhere(f":{PASSWORD}@"),
        "broker_transport_options": {"sentinel_kwargs": {"password": f"{PASSWORD}-2"}},
    }
    exporter = start_exporter("--app", APP, "--log.level", "debug", env=environment(settings))
    assert broker_of_complaint(exporter).startswith("redis://:***@")
    exporter.process.wait_until(
        lambda: "still cannot receive events" in exporter.stderr,
        timeout=10,
        what="a traceback at level debug",
    )
    assert PASSWORD not in exporter.stderr
    for path in ("/", "/-/ready", "/-/healthy", "/metrics"):
        assert PASSWORD not in fetch(exporter.url, path).text


def test_logging_of_the_application_leaves_ours_alone(
    valkey: Valkey, tmp_path: Path, start_exporter: StartExporter
) -> None:
    """A project that configures logging while it is imported neither silences the exporter nor changes its lines."""
    folder = tmp_path / "exporter-1"  # where the fixture starts its first exporter
    folder.mkdir()
    (folder / "loud.py").write_text(
        "import logging.config\n"
        "from celery import Celery\n"
        "handlers = {'console': {'class': 'logging.StreamHandler', 'level': 'DEBUG'}}\n"
        "root = {'handlers': ['console'], 'level': 'DEBUG'}\n"
        "logging.config.dictConfig({'version': 1, 'handlers': handlers, 'root': root})\n"
        f"app = Celery('x', broker={valkey.url!r})\n"
    )
    exporter = start_exporter("--app", "loud")
    wait_until_receiving(exporter)
    assert all(line.startswith("ts=") for line in exporter.stderr.splitlines()), exporter.stderr
