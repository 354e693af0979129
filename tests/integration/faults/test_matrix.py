"""The fault matrix. Trials that have a server, or a virtual host, of their own all run at once: they mostly wait.

Those that nobody on a RabbitMQ can miss take place one after the other, on a server of their own.
"""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.integration.faults import network, rabbitmq_faults, redis_faults, sentinel_faults
from tests.integration.faults.trial import RECOVERY_S, Outcome
from tests.integration.servers import RabbitMQ, why_missing

#: Trials at once: on a small machine the processes of more of them would keep each other from starting in time.
_AT_ONCE: Final = 9

log = logging.getLogger(__name__)

Outcomes = Mapping[str, "Future[Outcome]"]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """What comes of the trials whose tests are selected, by the names of these tests."""
    # the longest first
    trials = {
        f"test_sentinel[{name}]": partial(sentinel_faults.trial, name) for name in sentinel_faults.FAULTS
    }
    if why_missing("rabbitmq") is None:
        server: RabbitMQ = request.getfixturevalue("rabbitmq")
        trials |= {
            f"test_rabbitmq[{name}]": partial(rabbitmq_faults.trial, name, server)
            for name in rabbitmq_faults.FAULTS
        }
    trials |= {f"test_redis[{name}]": partial(redis_faults.trial, name) for name in redis_faults.FAULTS}
    selected = {item.name for item in request.session.items if item.path == request.path}
    folder = tmp_path_factory.mktemp("faults")
    with ExitStack() as servers, ThreadPoolExecutor(_AT_ONCE) as pool, ThreadPoolExecutor(1) as queue:
        found = {
            test: pool.submit(trial, folder / str(number))
            for number, (test, trial) in enumerate(trials.items())
            if test in selected
        }
        alone = {f"test_rabbitmq_server[{name}]": name for name in rabbitmq_faults.SERVER_FAULTS}
        if why_missing("rabbitmq") is None and alone.keys() & selected:
            started = queue.submit(_start, servers, folder / "rabbitmq")
            found |= {
                test: queue.submit(_on_server, name, started, folder / name)
                for test, name in alone.items()
                if test in selected
            }
        yield found


def _start(servers: ExitStack, folder: Path) -> RabbitMQ:
    server = servers.enter_context(RabbitMQ(folder))
    servers.callback(server.kill)  # a farewell takes seconds
    return server


def _on_server(name: str, started: "Future[RabbitMQ]", folder: Path) -> Outcome:
    return rabbitmq_faults.trial(name, started.result(), folder)


def check(outcome: Outcome) -> None:
    """Hold an outcome against the contract; `--log-cli-level info` shows its figures."""
    log.info(outcome)
    assert outcome.found < RECOVERY_S
    assert outcome.recovered < RECOVERY_S


@pytest.fixture
def outcome(request: pytest.FixtureRequest, outcomes: Outcomes) -> Outcome:
    """What came of this test's trial; fails as the trial did."""
    if request.node.callspec.params["fault"] == "address" and not network.may_have_hosts():
        pytest.skip("this machine gives nobody a mount namespace")
    return outcomes[request.node.name].result()


@pytest.mark.needs("valkey")
@pytest.mark.parametrize("fault", redis_faults.FAULTS)
def test_redis(fault: str, outcome: Outcome) -> None:
    """The exporter tells what is wrong, stays healthy, and counts again soon after the end of the fault."""
    check(outcome)


@pytest.mark.needs("valkey")
@pytest.mark.parametrize("fault", sentinel_faults.FAULTS)
def test_sentinel(fault: str, outcome: Outcome) -> None:
    """The same where the exporter has to follow the Sentinels to another master."""
    check(outcome)


@pytest.mark.needs("rabbitmq")
@pytest.mark.parametrize("fault", rabbitmq_faults.FAULTS)
def test_rabbitmq(fault: str, outcome: Outcome) -> None:
    """The same, and what is published while the link is up is counted exactly."""
    check(outcome)


@pytest.mark.needs("rabbitmq")
@pytest.mark.parametrize("fault", rabbitmq_faults.SERVER_FAULTS)
def test_rabbitmq_server(fault: str, outcome: Outcome) -> None:
    """The same for what nobody on the server can miss."""
    check(outcome)
