"""The columns of the matrix: what differs from this machine, and which tests run there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from tests.recordings.record import RELEASES

#: A subject of tests and where they are.
Subjects = Mapping[str, Sequence[str]]


def _integration(*names: str) -> list[str]:
    return [f"tests/integration/test_{name}.py" for name in names]


#: What differs by server.
SERVERS: Final[Subjects] = MappingProxyType(
    {
        "truth": ["tests/integration/truth"],
        "faults": [
            "tests/integration/faults",
            *_integration("readers_amqp_faults", "readers_redis_faults", "unreachable_broadcast"),
        ],
        "events": _integration(
            "amqp_limits",
            "amqp_receiver",
            "event_queue",
            "event_queue_durable",
            "event_queue_standby",
            "acknowledgements",
            "executions",
            "publications",
            "recovery",
            "redis_receiver",
            "redis_receiver_link",
            "subscriptions",
            "transports_redis",
            "wakeup",
        ),
        "queues": _integration(
            "no_events",
            "queues",
            "readers_amqp",
            "readers_management",
            "readers_redis",
            "readers_redis_access",
        ),
        "control": _integration("control", "control_amqp", "control_redis"),
        "rights": _integration("least_privilege", "redis_receiver_rights", "sentinel_login"),
        "doctor": _integration(
            "doctor_command", "doctor_reach", "doctor_rights", "doctor_workers", "forbidden_queues"
        ),
        "alerts": [
            "tests/alerts",
            *_integration("dashboards", "prometheus", "prometheus_native", "web_config_promtool"),
        ],
    }
)

#: What differs by Celery beside the exporter: settings of applications, connecting, receivers, remote control.
CELERY: Final[Subjects] = MappingProxyType(
    {
        "truth": ["tests/integration/truth/test_truth.py"],
        "events": [
            "tests/receivers/test_receiver.py",
            *_integration(
                "event_queue",
                "event_queue_durable",
                "executions",
                "publications",
                "recovery",
                "subscriptions",
                "transports_redis",
                "transports_tls",
            ),
        ],
        "queues": _integration(
            "no_events",
            "no_events_refused",
            "queues",
            "readers_amqp",
            "readers_redis",
            "readers_sqlalchemy",
            "readers_sqs",
            "readers_sqs_refused",
            "readers_virtual",
        ),
        "control": ["tests/control", *_integration("control_amqp", "control_redis")],
        "rights": _integration("sentinel_login"),
        "doctor": _integration("doctor_command", "doctor_workers"),
        "applications": [
            "tests/connection",
            *_integration("app_option", "app_settings", "app_tasks", "celery_command"),
        ],
        "in workers": [
            "tests/in_worker",
            "tests/integration/truth/test_in_worker.py",
            *_integration("in_worker", "in_worker_process", "in_worker_publishing"),
        ],
    }
)

#: What differs by Python: everything but the browser, charts, pages and pictures.
PYTHON: Final[Subjects] = MappingProxyType(
    {
        "truth": ["tests/integration/truth"],
        "faults": ["tests/integration/faults"],
        "integration": ["tests/integration", "tests/demo"],
        "rooms": [
            f"tests/{room}"
            for room in (
                *(
                    "cli",
                    "collectors",
                    "config",
                    "connection",
                    "control",
                    "doctor",
                    "events",
                    "exposition",
                    "fuzz",
                    "in_worker",
                ),
                *(
                    "queues",
                    "receivers",
                    "status_page",
                    "tasks",
                    "web",
                    "workers",
                    "test_app.py",
                    "test_bounds.py",
                ),
                *("test_distribution.py", "test_hostile.py", "test_labels.py", "test_logs.py"),
                *("test_logs_of_trouble.py", "test_properties.py", "test_redaction.py"),
            )
        ],
    }
)


class Column(NamedTuple):
    """One column; what is empty is as on this machine.

    Attributes:
        subjects: which tests run.
        suite: of Debian, whose servers they run against.
        redis: the program that speaks Redis' protocol there.
        rabbitmq: lines for its rabbitmq.conf.
        celery: the version beside the exporter.
        python: that runs all.
    """

    subjects: Subjects
    suite: str = ""
    redis: str = ""
    rabbitmq: str = ""
    celery: str = ""
    python: str = ""


COLUMNS: Final[Mapping[str, Column]] = MappingProxyType(
    {
        "debian-12": Column(SERVERS, suite="bookworm", redis="redis-server"),
        "debian-13": Column(SERVERS, suite="trixie", redis="redis-server"),
        "debian-13-valkey": Column(SERVERS, suite="trixie", redis="valkey-server"),
        "forky": Column(SERVERS, suite="forky", redis="redis-server"),
        "forky-valkey": Column(SERVERS, suite="forky", redis="valkey-server"),
        "forky-strict": Column(
            SERVERS,
            suite="forky",
            redis="redis-server",
            rabbitmq="deprecated_features.permit.transient_nonexcl_queues = false",
        ),
        **{f"celery-{version}": Column(CELERY, celery=version) for version in RELEASES},
        **{
            f"python-{version}": Column(PYTHON, python=version)
            for version in ("3.11", "3.12", "3.13", "3.14")
        },
    }
)


def paths(subjects: Subjects) -> list[str]:
    """The files and folders of all subjects."""
    return [path for some in subjects.values() for path in some]


def subject_of(subjects: Subjects, test: str) -> str:
    """The subject of a test, which has its module's dotted name before its own (as pytest's report has it)."""
    for subject, some in subjects.items():
        for path in some:
            module = path.removesuffix(".py").replace("/", ".")
            if test == module or test.startswith(f"{module}."):
                return subject
    raise KeyError(test)
