"""--app: the tasks of a real project are there at 0 from the first scrape, under the labels that their events get."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import HOST, CeleryWorker, ExporterProcess, Valkey, free_port
from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

ROUTED = "tests.integration.routed"
DJANGO = "tests.integration.django_project"
QUEUES = ["celery", "mail", "paper", "large", "small"]
PLAIN = {("shop.pack", "celery"), ("shop.mail_receipt", "mail"), ("shop.print_label", "paper")}
EXPECTED = {*PLAIN, ("shop.bill", "unknown")}
OF_DJANGO = {
    (f"{DJANGO}.shop.tasks.count_fields", "website"),
    (f"{DJANGO}.shop.tasks.mail_receipt", "mail"),
}


def counts(exporter: ExporterProcess, kind: str) -> dict[tuple[str, str], float]:
    """A counter of tasks by (task, queue)."""
    return {
        (dict(labels)["task"], dict(labels)["queue"]): value
        for (name, labels), value in exporter.scrape().items()
        if name == f"celery_task_{kind}_total"
    }


def zeros(labels: set[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Nothing happened yet."""
    return dict.fromkeys(labels, 0)


def wait_for_counts(exporter: ExporterProcess, kind: str, wanted: dict[tuple[str, str], float]) -> None:
    """Wait until the counter has exactly these series and values."""
    wait_for(
        lambda: counts(exporter, kind) == wanted,
        timeout=20,
        what=lambda: f"{wanted}: {counts(exporter, kind)} {exporter.process.describe()}",
    )


def project(broker_url: str, **settings: Any) -> dict[str, str]:
    """The environment of the project's processes."""
    return {"PROJECT_BROKER": broker_url, "PROJECT_SETTINGS": json.dumps(settings)}


def submit(code: str, env: dict[str, str]) -> None:
    """Run code in a process of the project that publishes tasks."""
    subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(env), cwd=REPOSITORY, check=True, timeout=60
    )


TASKS = "from tests.integration.routed import tasks as t; t.app.set_default(); "


def test_zeros_are_there_without_a_broker(start_exporter: StartExporter) -> None:
    """The first scrape has every task of the project, whatever is up: outcomes at 0, no histograms, no built-ins."""
    url = f"redis://{HOST}:{free_port()}/0"
    exporter = start_exporter("--app", ROUTED, env=project(url))
    for kind in ("sent", "received", "started", "succeeded", "failed", "retried", "cancelled"):
        assert counts(exporter, kind) == zeros(EXPECTED)
    assert "celery_task_runtime_seconds_bucket" not in exporter.text()


def test_events_come_under_the_labels_of_the_zeros(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """With task-sent off and a worker of several queues, events count in the series that were there from the start."""
    env = project(broker_url)
    exporter = start_exporter("--app", ROUTED, env=env)
    wait_until_receiving(exporter)
    assert counts(exporter, "succeeded") == zeros(EXPECTED)
    worker = start_worker(ROUTED, pool="solo", events=False, queues=QUEUES, env=env)
    wait_for(
        lambda: exporter.value("celery_worker_task_events_enabled", worker=worker.nodename) == 1,
        timeout=20,
        what="a worker that sends task events",
    )
    submit(f"{TASKS}[f.delay() for f in (t.pack, t.mail_receipt, t.print_label)]; t.bill.delay(2000)", env)
    wait_for_counts(exporter, "succeeded", dict.fromkeys(EXPECTED, 1))
    assert counts(exporter, "received") == dict.fromkeys(EXPECTED, 1)
    assert counts(exporter, "sent") == zeros(EXPECTED)
    assert "queues are taken from the application's routes" in exporter.stderr
    assert exporter.total("celery_exporter_events_dropped_total") == 0
    worker.kill()


def test_task_sent_is_right_and_leaves_no_zeros_beside_it(
    broker_url: str, start_exporter: StartExporter, start_worker: StartWorker
) -> None:
    """What clients tell of queues beats the routes, and a task that is sent elsewhere leaves its zeros."""
    env = project(broker_url, task_send_sent_event=True)
    exporter = start_exporter("--app", ROUTED, env=env)
    wait_until_receiving(exporter)
    worker = start_worker(ROUTED, pool="solo", queues=QUEUES, env=env)
    submit(f"{TASKS}t.pack.apply_async(queue='large'); t.mail_receipt.delay(); t.bill.delay(2000)", env)
    wanted = {
        ("shop.pack", "large"): 1.0,
        ("shop.mail_receipt", "mail"): 1.0,
        ("shop.bill", "large"): 1.0,
        ("shop.print_label", "paper"): 0.0,
    }
    wait_for_counts(exporter, "succeeded", wanted)
    assert counts(exporter, "sent") == wanted
    assert "application's routes" not in exporter.stderr
    worker.kill()


def test_queues_of_routes_are_looked_at(valkey: Valkey, start_exporter: StartExporter) -> None:
    """Queues that only routes name are shown before anything is in them."""
    exporter = start_exporter("--app", ROUTED, "--sample-interval", "200ms", env=project(valkey.url))
    for queue in ("celery", "mail", "paper"):
        wait_for(
            lambda queue=queue: exporter.value("celery_queue_length", queue=queue) == 0,  # type: ignore[misc]
            timeout=10,
            what=f"the length of {queue}",
        )


def test_task_modules_can_be_left_alone(valkey: Valkey, start_exporter: StartExporter) -> None:
    """--no-app-tasks imports no task module and shows no task before it is seen."""
    exporter = start_exporter("--app", ROUTED, "--no-app-tasks", env=project(valkey.url))
    wait_until_receiving(exporter)
    assert counts(exporter, "succeeded") == {}
    assert "tasks of the application" not in exporter.stderr


def test_a_task_module_that_fails(valkey: Valkey, start_exporter: StartExporter) -> None:
    """A module that cannot be imported is named in a warning; what is known otherwise is shown and served."""
    env = project(valkey.url, imports=["tests.integration.routed.tasks", "nothing_of_this_name"])
    exporter = start_exporter("--app", ROUTED, env=env)
    wait_until_receiving(exporter)
    assert counts(exporter, "succeeded") == zeros(EXPECTED)
    (line,) = [line for line in exporter.stderr.splitlines() if "level=warning" in line]
    assert "nothing_of_this_name" in line


def test_a_django_project(valkey: Valkey, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """Settings, shared tasks that need models, and routes of a real Django project; its logging leaves ours alone."""
    env = {"PROJECT_BROKER": valkey.url}
    exporter = start_exporter(env=env, command=(sys.executable, "-m", "celery", "-A", DJANGO, "exporter"))
    wait_until_receiving(exporter)
    assert counts(exporter, "succeeded") == zeros(OF_DJANGO)
    worker = start_worker(DJANGO, pool="solo", events=True, queues=["website", "mail"], env=env)
    submit(
        f"import django; from {DJANGO} import celery_app; django.setup(); from {DJANGO}.shop import tasks as t; "
        "t.count_fields.delay(); t.mail_receipt.delay()",
        env,
    )
    wait_for_counts(exporter, "succeeded", dict.fromkeys(OF_DJANGO, 1))
    assert all(line.startswith("ts=") for line in exporter.stderr.splitlines()), exporter.stderr
    worker.kill()
