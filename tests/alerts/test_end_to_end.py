"""Faults of a real Celery reach a real Alertmanager, through the real exporter, Prometheus and rules."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.alerts.hurried import hurried_rules
from tests.integration.servers import (
    Alertmanager,
    CeleryWorker,
    ExporterProcess,
    Prometheus,
    ServerProcess,
    Valkey,
    require,
)
from tests.integration.servers.alertmanager import Alert
from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

APP = "tests.alerts.faulty_app"
PATIENCE_S = 60.0
FAST = ("--worker-timeout", "4s", "--sample-interval", "1s", "--inspect-interval", "1s")
THRESHOLDS = {"queue_message_age_seconds": 6, "task_running_seconds": 8}
SCHEDULE = {"quick": 12.0}

HEALTHY_RUNS = 60
FAILURES = 200  # so many that quick tasks cannot hide them
PARCELS = 3


@dataclass(frozen=True, slots=True)
class Scene:
    """A running Celery and all that watches it."""

    valkey: Valkey
    exporter: ExporterProcess
    prometheus: Prometheus
    alertmanager: Alertmanager
    steady: CeleryWorker
    doomed: CeleryWorker

    def firing(self) -> set[str]:
        """Names of the alerts that fire, or have fired since Prometheus scrapes, which it begins late."""
        fired = self.prometheus.query(
            'present_over_time((ALERTS{alertstate="firing"} and on () up offset 3s)[1h:1s])'
        )
        return {sample.labels["alertname"] for sample in fired}

    def arrived(self, name: str, *, held_back: bool = False, **labels: str) -> Alert:
        """Wait until an alert with at least these labels is at Alertmanager, and perhaps held back there."""
        wanted = {"alertname": name, **labels}.items()
        return wait_for(
            lambda: next(
                (
                    alert
                    for alert in self.alertmanager.alerts()
                    if wanted <= alert.labels.items() and (alert.inhibited or not held_back)
                ),
                None,
            ),
            timeout=PATIENCE_S,
            what=lambda: f"{name} {labels} at Alertmanager; fired: {self.firing()}\n{self.exporter.text()}",
        )  # type: ignore[return-value]  # it waits until it is no None

    def celery(self, *arguments: str) -> None:
        """Send tasks with the application's own command line, or run a command of Celery's."""
        subprocess.run(
            [sys.executable, "-m", *arguments],
            env=clean_environment({"CELERY_BROKER_URL": self.valkey.url}),
            cwd=REPOSITORY,
            check=True,
            timeout=PATIENCE_S,
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Start everything once, and wait until it has worked for a while."""
    require("valkey", "prometheus", "alertmanager")
    folder = tmp_path_factory.mktemp("alerts")
    rules = hurried_rules(folder / "rules", THRESHOLDS, SCHEDULE)
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        env = {"CELERY_BROKER_URL": valkey.url}
        exporter = stack.enter_context(
            ExporterProcess(folder / "exporter", ("--broker-url", valkey.url, *FAST))
        )
        steady = CeleryWorker(
            folder / "workers", APP, hostname="steady", queues=("celery", "parcels"), env=env
        )
        doomed = CeleryWorker(folder / "workers", APP, hostname="doomed", queues=("endless",), env=env)
        stack.callback(steady.kill)
        stack.callback(doomed.kill)
        steady.start()
        doomed.start()
        client = ServerProcess(
            [sys.executable, "-m", APP], log=folder / "client.log", env=clean_environment(env), cwd=REPOSITORY
        )
        stack.callback(client.kill)
        client.start()
        alertmanager = stack.enter_context(
            Alertmanager(folder / "alertmanager", REPOSITORY / "compose" / "alertmanager.yaml")
        )
        prometheus = stack.enter_context(
            Prometheus(
                folder / "prometheus", [exporter.url], rules=rules, alertmanagers=[alertmanager.address]
            )
        )
        found = Scene(valkey, exporter, prometheus, alertmanager, steady, doomed)
        runs = 'sum(celery_task_succeeded_total{task="quick"})'
        wait_for(
            lambda: (prometheus.value(runs) or 0) >= HEALTHY_RUNS,
            timeout=PATIENCE_S,
            what=lambda: f"{HEALTHY_RUNS} runs in Prometheus: {exporter.text()}",
        )
        yield found


def test_faults_arrive_at_alertmanager(scene: Scene) -> None:
    """A healthy run fires nothing; then each fault makes its alert, with its labels, and what ends is resolved."""
    rules = scene.prometheus.api("rules")["groups"]
    assert not [rule["lastError"] for group in rules for rule in group["rules"] if rule.get("lastError")]
    wait_for(
        lambda: scene.prometheus.value("count_over_time(celery:links[1h]) >= 12"),
        timeout=PATIENCE_S,
        what="rules that were evaluated for longer than any alert waits",
    )
    assert (scene.firing(), scene.alertmanager.alerts()) == (set(), [])

    # Faults of tasks and queues, all at once: none hides another.
    scene.celery("celery", "-A", APP, "control", "--timeout", "5", "cancel_consumer", "parcels")
    # increase() counts from a task's first sample on: a burst between two scrapes would be no increase.
    scene.celery(APP, "broken", "1", "celery")
    wait_for(
        lambda: scene.prometheus.value('sum(celery_task_failed_total{task="broken"})') == 1,
        timeout=PATIENCE_S,
        what="the first failure in Prometheus",
    )
    orders = ("quick", PARCELS, "parcels", "endless", 1, "endless", "broken", FAILURES, "celery")
    scene.celery(APP, *map(str, orders))
    failing = scene.arrived("CeleryTaskFailuresFast", task="broken", severity="critical")
    assert failing.annotations["summary"] == "Task broken fails often"
    assert failing.annotations["runbook_url"].endswith("/docs/runbook.md#celerytaskfailuresfast")
    assert failing.annotations["dashboard_url"].endswith(
        "/d/celery-exporter-task?var-job=exporter-0&var-task=broken"
    )
    unconsumed = scene.arrived("CeleryQueueWithoutConsumers", queue="parcels", severity="critical")
    assert unconsumed.annotations["description"].startswith(f"{PARCELS} messages wait in parcels")
    scene.arrived("CeleryQueueMessageTooOld", queue="parcels")
    scene.arrived("CeleryTaskStuck", task="endless", queue="endless")
    assert not {"CeleryWorkerLost", "CeleryExporterDown", "CeleryBrokerUnreachable"} & scene.firing()

    # One worker is killed, then the other.
    scene.doomed.kill()
    scene.arrived("CeleryWorkerLost", worker="doomed@localhost", severity="warning")
    assert "CeleryAllWorkersDown" not in scene.firing()
    scene.celery(APP, "endless", "2", "endless")
    scene.arrived("CeleryQueueWorkersLost", worker="doomed@localhost", queue="endless", severity="critical")
    scene.arrived("CeleryWorkerLost", held_back=True, worker="doomed@localhost")
    scene.steady.kill()
    scene.arrived("CeleryAllWorkersDown", severity="critical")
    scene.arrived("CeleryScheduleMissed", task="quick")

    # The broker stands still, and goes on.
    scene.valkey.pause()
    scene.arrived("CeleryBrokerUnreachable", severity="critical")
    scene.arrived("CeleryMonitoringInterrupted", job="exporter-0", severity="info")
    scene.arrived("CeleryScheduleMissed", held_back=True, task="quick")
    scene.valkey.resume()
    wait_for(
        lambda: (
            not any(
                alert.labels["alertname"] == "CeleryBrokerUnreachable"
                for alert in scene.alertmanager.alerts()
            )
        ),
        timeout=PATIENCE_S,
        what="the end of CeleryBrokerUnreachable",
    )

    assert not {"CeleryExporterDown", "CeleryExporterAbsent"} & scene.firing()
    scene.exporter.stop()
    scene.arrived("CeleryExporterDown", job="exporter-0", severity="critical")
