"""The truth test of workers that report for themselves: together they tell every number that they can know."""

import json
import math
import time
from collections.abc import Callable, Collection
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
    submissions_without_fanout,
)
from tests.waiting import wait_for

#: Threads of any version: nothing is lost in the process itself.
POOLS = {ALPHA: ("prefork", 2), BETA: ("threads", 4), GAMMA: ("solo", 1)}


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
    start_self_reporting: Callable[..., SelfReportingWorker],
    *,
    listened: bool,
) -> None:
    """Every counter and histogram count is equal, summed over workers; and that of a listener beside them as well."""
    env = environment(tmp_path, broker_url)
    exporter = start_exporter("--broker-url", broker_url) if listened else None
    if exporter is not None:
        wait_for(lambda: 'msg="receiving events"' in exporter.stderr, timeout=30, what="the listener")
    workers = {
        queue: start_self_reporting(
            APP,
            hostname=queue,
            pool=pool,
            concurrency=concurrency,
            queues=(queue, EVERYONE),
            env=env,
            events=listened,
        )
        for queue, (pool, concurrency) in POOLS.items()
    }
    nodenames = {queue: worker.nodename for queue, worker in workers.items()}
    everything = truth(submissions(), nodenames, celery=CELERY)

    run_client(tmp_path, env, nodenames)
    check_sum(workers.values(), everything.of_workers())
    if exporter is not None:
        wait_until_settled(exporter, everything)
        assert not differences(Page(exporter.text()), everything)


def test_without_fanout_the_sum_of_all_workers_is_the_truth(
    moto: Moto, tmp_path: Path, start_self_reporting: Callable[..., SelfReportingWorker]
) -> None:
    """On SQS, which carries no events between processes, every counter and histogram count is equal too.

    Left out is what it cannot do, remote control and broadcast: revokes, terminations, and the lives whose progress
    the client can only learn by asking workers (`NEED_FANOUT`).
    """
    transport = {"region": moto.REGION, "is_secure": False, "wait_time_seconds": 1}
    env = environment(tmp_path, moto.url(), **transport)
    workers = {
        queue: start_self_reporting(
            APP, hostname=queue, pool=pool, concurrency=concurrency, queues=(queue,), env=env
        )
        for queue, (pool, concurrency) in POOLS.items()
    }
    nodenames = {queue: worker.nodename for queue, worker in workers.items()}
    expected = truth(submissions_without_fanout(), nodenames, celery=CELERY).of_workers()

    run_client(tmp_path, env, nodenames, options=("--without-fanout",))
    check_sum(workers.values(), expected)


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
