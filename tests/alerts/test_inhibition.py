"""What a real Alertmanager tells of one cause: the alerts that promtool sees of it, less what follows from another."""

import re
from collections.abc import Iterator
from itertools import count

import pytest
import yaml

from tests.alerts.hurried import ALERTS
from tests.integration.servers import Alertmanager
from tests.integration.servers.alertmanager import Alert
from tests.integration.servers.exporter import REPOSITORY
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("alertmanager")

CONFIG = REPOSITORY / "compose" / "alertmanager.yaml"
FIRING = 'ALERTS{alertstate="firing"}'

#: Cause -> what somebody is told of it.
TOLD = {
    "the only exporter is down": ["CeleryExporterDown a:9808", "CeleryMonitoringInterrupted"],
    "one of two exporters is down, and the other one sees that a worker is lost": [
        "CeleryExporterDown a:9808",
        "CeleryWorkerLost w1@host",
    ],
    "the broker of a job is away for 90 min": [
        "CeleryBrokerUnreachable a:9808",
        "CeleryMonitoringInterrupted",
        "CeleryWorkerLost mail m1@host",
    ],
    "nothing is received, while the broker tells that a message waits": [
        "CeleryExporterDeaf a:9808",
        "CeleryMonitoringInterrupted",
    ],
    "the only worker of a queue is lost, one of two of another queue too": [
        "CeleryQueueWorkersLost orders only@host",
        "CeleryWorkerLost one@host",
    ],
    "all workers are lost": ["CeleryAllWorkersDown"],
    "a queue grows faster than its saturated workers can take": [
        "CeleryPoolSaturated orders",
        "CeleryQueueMessageTooOld orders",
    ],
    "half of the runs of a task fail": ["CeleryTaskFailuresFast charge"],
}

NAMED = ("alertname", "broker", "task", "queue", "instance", "worker")
PATIENCE_S = 30.0

_shop = count()
_LAST = [
    {"alertname": "CeleryTaskFailuresFast", "job": "last", "task": "charge"},
    {"alertname": "CeleryTaskFailuresSlow", "job": "last", "task": "charge"},
]


def _causes() -> dict[str, list[dict[str, str]]]:
    """Labels of all alerts that fire, by cause."""
    tests = yaml.safe_load((ALERTS / "tests" / "causes.yaml").read_text())["tests"]
    return {
        test["name"]: [
            dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
            for expected in test["promql_expr_test"]
            if expected["expr"] == FIRING
            for sample in expected["exp_samples"]
        ]
        for test in tests
    }


CAUSES = _causes()


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """One with compose's configuration."""
    with Alertmanager(tmp_path_factory.mktemp("alertmanager"), CONFIG) as server:
        yield server


def _told(alertmanager: Alertmanager, alerts: list[dict[str, str]]) -> list[str]:
    """What is told of these alerts, which get a namespace of their own."""
    shop = f"shop-{next(_shop)}"
    alertmanager.send([{**labels, "namespace": shop} for labels in (*alerts, *_LAST)])

    def known() -> list[Alert]:
        # Alerts are taken in their order: once the last one is inhibited, the others are all they will be.
        mine = [alert for alert in alertmanager.alerts() if alert.labels.get("namespace") == shop]
        return mine if any(alert.inhibited and alert.labels.get("job") == "last" for alert in mine) else []

    told = [
        alert.labels
        for alert in wait_for(known, timeout=PATIENCE_S, what="an inhibition")
        if not alert.inhibited and alert.labels["job"] != "last"
    ]
    return sorted(" ".join(labels[name] for name in NAMED if name in labels) for labels in told)


def test_every_cause_is_named() -> None:
    """The table has the causes of the unit tests, and each makes what it is said to make."""
    assert TOLD.keys() == CAUSES.keys()
    assert all(CAUSES.values())


@pytest.mark.parametrize("cause", CAUSES)
def test_one_cause_is_told_once(cause: str, alertmanager: Alertmanager) -> None:
    """What follows from another alert is inhibited, and nothing else is."""
    assert _told(alertmanager, CAUSES[cause]) == sorted(TOLD[cause])


@pytest.mark.parametrize("cause", CAUSES)
def test_without_what_inhibits_each_alert_is_told(cause: str, alertmanager: Alertmanager) -> None:
    """Each alert of a cause that comes by itself is told: none is lost for good."""
    for labels in CAUSES[cause]:
        assert len(_told(alertmanager, [labels])) == 1


def test_other_jobs_queues_and_workers_are_told(alertmanager: Alertmanager) -> None:
    """What looks alike and is of another job, broker, queue, worker or exporter follows from nothing."""
    cause = {"alertname": "CeleryQueueWorkersLost", "job": "a", "worker": "w@host", "queue": "orders"}
    others = [
        {"alertname": "CeleryWorkerLost", "job": "b", "worker": "w@host"},
        {"alertname": "CeleryWorkerLost", "job": "a", "broker": "mail", "worker": "w@host"},
        {"alertname": "CeleryWorkerLost", "job": "a", "worker": "v@host"},
        {"alertname": "CeleryQueueWithoutConsumers", "job": "a", "queue": "mail"},
        {"alertname": "CeleryExporterDown", "job": "a", "instance": "a:9808"},
        {"alertname": "CeleryEventsMissed", "job": "a", "instance": "b:9808"},
    ]
    assert len(_told(alertmanager, [cause, *others])) == 1 + len(others)


def test_a_warning_never_inhibits_a_critical_alert() -> None:
    """Whoever is woken by critical alerts only is still woken; CeleryMonitoringInterrupted comes with critical ones."""
    severity = {
        rule["alert"]: rule["labels"]["severity"]
        for path in ALERTS.glob("*.yaml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    rules = yaml.safe_load(CONFIG.read_text())["inhibit_rules"]
    for rule in rules:
        sources, targets = (
            [name for name in severity if all(_matches(matcher, name) for matcher in rule[side])]
            for side in ("source_matchers", "target_matchers")
        )
        assert sources, rule
        assert targets, rule
        assert not set(sources) & set(targets), rule
        assert {"cluster", "namespace", "job", "broker"} <= set(rule["equal"])
        if any(severity[name] == "warning" for name in sources):
            assert all(severity[name] != "critical" for name in targets), rule


def _matches(matcher: str, name: str) -> bool:
    found = re.fullmatch(r'alertname=(~?)"(.+)"', matcher)
    assert found, matcher
    return bool(re.fullmatch(found[2] if found[1] else re.escape(found[2]), name))


def test_runbook_tells_what_holds_back() -> None:
    """Its table names every alert that inhibits others."""
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text()
    table = runbook.partition("| alert | holds back |")[2].partition("\n\n")[0]
    named = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`(Celery\w+)`", row.split("|")[1] if row else "")
    }
    sources = {
        name
        for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]
        for matcher in rule["source_matchers"]
        for name in re.findall(r"Celery\w+", matcher)
    }
    assert named == sources
