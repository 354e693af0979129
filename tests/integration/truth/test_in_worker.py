"""The truth test of workers that report for themselves: together they tell every number that they can know."""

import json
import math
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest

from tests.integration.self_reporting import SelfReportingWorker
from tests.integration.servers import ExporterProcess, Moto
from tests.integration.truth.acts import MARKS_VARIABLE
from tests.integration.truth.app import IN_WORKER, TRANSPORT
from tests.integration.truth.comparison import Page, differences
from tests.integration.truth.test_truth import (
    APP,
    BETWEEN_SCRAPES_S,
    CELERY,
    QUIET_S,
    SETTLED_S,
    run_client,
    wait_until_settled,
)
from tests.integration.truth.truth import Sample, Truth, truth
from tests.integration.truth.workload import (
    ALPHA,
    BETA,
    EVERYONE,
    GAMMA,
    submissions,
)
from tests.waiting import wait_for

Start = Callable[..., SelfReportingWorker]
#: The pool of the worker of each queue, and its concurrency.
Pools = Mapping[str, tuple[str, int]]

#: Threads of any version: nothing is lost in the process itself.
POOLS = {ALPHA: ("prefork", 2), BETA: ("threads", 4), GAMMA: ("solo", 1)}
GREENLETS = ("gevent", "eventlet")


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh broker: a Valkey server or a virtual host of RabbitMQ."""
    fixture = {"valkey": "valkey", "rabbitmq": "rabbitmq_vhost"}[request.param]
    return str(request.getfixturevalue(fixture).url)


@pytest.mark.parametrize(
    "listened",
    [
        False,
        pytest.param(
            True,
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(CELERY < (5, 7), reason="threads lose events that they send"),
            ],
        ),
    ],
    ids=["alone", "beside a listener"],
)
def test_the_sum_of_all_workers_is_the_truth(
    broker_url: str,
    tmp_path: Path,
    start_exporter: Callable[..., ExporterProcess],
    start_self_reporting: Start,
    *,
    listened: bool,
) -> None:
    """Every counter and histogram count is equal, summed over workers; and that of a listener beside them as well."""
    env = environment(tmp_path, broker_url)
    exporter = start_exporter("--broker-url", broker_url) if listened else None
    if exporter is not None:
        wait_for(lambda: 'msg="receiving events"' in exporter.stderr, timeout=30, what="the listener")
    workers = start_all(start_self_reporting, POOLS, env, events=listened)
    nodenames = {queue: worker.nodename for queue, worker in workers.items()}
    everything = truth(submissions(), nodenames, celery=CELERY)

    run_client(tmp_path, env, nodenames)
    check_sum(workers.values(), everything.of_workers())
    if exporter is not None:
        wait_until_settled(exporter, everything)
        assert not differences(Page(exporter.text()), everything)


@pytest.mark.parametrize(
    ("pool", "broker_url", "few"),
    [
        ("gevent", "valkey", False),
        pytest.param("eventlet", "valkey", False, marks=pytest.mark.slow),
        *(pytest.param(pool, "rabbitmq", True, marks=pytest.mark.slow) for pool in GREENLETS),
    ],
    indirect=["broker_url"],
)
def test_of_greenlets_the_sum_of_all_workers_is_the_truth(
    broker_url: str, tmp_path: Path, pool: str, start_self_reporting: Start, *, few: bool
) -> None:
    """With greenlets in all workers every counter and histogram count is equal too.

    Left out is what such pools cannot do in Celery, or not all of them: time limits, terminations, losing a process,
    and holding tasks while all greenlets are occupied (`NEED_PROCESSES`). On RabbitMQ they need 0.1 s for a task.
    """
    env = environment(tmp_path, broker_url)
    workers = start_all(start_self_reporting, of_greenlets(pool), env)
    nodenames = {queue: worker.nodename for queue, worker in workers.items()}
    expected = truth(submissions(processes=False, few=few), nodenames, celery=CELERY).of_workers()

    run_client(tmp_path, env, nodenames, options=("--without-processes", *(("--few",) if few else ())))
    check_sum(workers.values(), expected)


@pytest.mark.parametrize(
    "pool", ["", *(pytest.param(pool, marks=pytest.mark.slow) for pool in GREENLETS)], ids=lambda pool: pool
)
def test_without_fanout_the_sum_of_all_workers_is_the_truth(
    moto: Moto, tmp_path: Path, pool: str, start_self_reporting: Start
) -> None:
    """On SQS, which carries no events between processes, every counter and histogram count is equal too.

    Left out is what it cannot do, remote control and broadcast: revokes, terminations, and the lives whose progress
    the client can only learn by asking workers (`NEED_FANOUT`); and with greenlets what these cannot do.
    """
    transport = {"region": moto.REGION, "is_secure": False, "wait_time_seconds": 1}
    env = environment(tmp_path, moto.url(), **transport)
    workers = start_all(start_self_reporting, of_greenlets(pool) if pool else POOLS, env, fanout=False)
    nodenames = {queue: worker.nodename for queue, worker in workers.items()}
    planned = submissions(fanout=False, processes=not pool)
    expected = truth(planned, nodenames, celery=CELERY).of_workers()

    options = ("--without-fanout", *(("--without-processes",) if pool else ()))
    run_client(tmp_path, env, nodenames, options=options)
    check_sum(workers.values(), expected)


def of_greenlets(pool: str) -> Pools:
    """Workers of this pool alone, with as many greenlets as the others have processes and threads."""
    return {queue: (pool, concurrency) for queue, (_, concurrency) in POOLS.items()}


def start_all(
    start: Start, pools: Pools, env: dict[str, str], *, fanout: bool = True, events: bool = False
) -> dict[str, SelfReportingWorker]:
    """The worker of each queue, which consumes the broadcast queue too where there can be one."""
    return {
        queue: start(
            APP,
            hostname=queue,
            pool=pool,
            concurrency=concurrency,
            queues=(queue, EVERYONE) if fanout else (queue,),
            env=env,
            events=events,
        )
        for queue, (pool, concurrency) in pools.items()
    }


def environment(folder: Path, broker_url: str, **transport: object) -> dict[str, str]:
    """What workers that report for themselves and the client need, with options of the broker's transport."""
    marks = folder / "marks"
    marks.mkdir()
    return {
        "CELERY_BROKER_URL": broker_url,
        TRANSPORT: json.dumps(transport),
        MARKS_VARIABLE: str(marks),
        IN_WORKER: "yes",
    }


def check_sum(workers: Collection[SelfReportingWorker], expected: Truth) -> None:
    """Wait until the numbers of all workers, added up, are the truth or do not change any more; they must be it."""
    found: list[str] = []
    counted: dict[Sample, float] = {}
    scraped = changed = -math.inf

    def settled() -> bool:
        nonlocal found, counted, scraped, changed
        now = time.monotonic()
        if now - scraped < BETWEEN_SCRAPES_S:
            return False
        scraped = now
        page = Page(*(worker.page() for worker in workers))
        found = differences(page, expected)
        if page.counted != counted:
            counted, changed = page.counted, now
        return not found or now - changed > QUIET_S

    wait_for(settled, timeout=SETTLED_S, what="the numbers to settle")
    assert not found, f"{len(found)} numbers differ from the truth:\n" + "\n".join(found)
