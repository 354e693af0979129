"""Faults of a Valkey group with Sentinels."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.integration.faults.front import Front
from tests.integration.faults.trial import Fault, Outcome, Scene, Stage, run_trial
from tests.integration.servers import Sentinels


@contextmanager
def kill(scene: Scene) -> Iterator[None]:
    """The master is killed, and the replica takes its place."""
    scene.stage.server.fail_over()
    yield


@contextmanager
def freeze(scene: Scene) -> Iterator[None]:
    """The master is frozen with all its connections, the replica takes its place, and then the master dies."""
    group: Sentinels = scene.stage.server
    group.master.pause()
    group.wait_for_failover()
    yield
    group.master.kill()


@contextmanager
def hand_over(scene: Scene) -> Iterator[None]:
    """An operator lets master and replica change places; both live."""
    group: Sentinels = scene.stage.server
    with group.sentinels[0].client() as client:
        client.sentinel_failover(group.master_name)
    group.wait_for_failover()
    yield


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "master-killed": Fault(kill, says=("onnection",)),
        "master-frozen": Fault(freeze, says=("no answer to PING",), mute=True),
        "master-replaced": Fault(hand_over, says=("onnection",)),
    }
)


def trial(name: str, folder: Path) -> Outcome:
    """Run the trial of a fault, with servers of its own."""
    with Sentinels(folder / "servers") as group, Front(group.master.port) as front:
        options = {"master_name": group.master_name}
        settings = {"broker_url": group.url, "broker_transport_options": options}
        arguments = ("--broker-transport-option", f"master_name={group.master_name}")
        return run_trial(FAULTS[name], Stage(settings, group.url, group, front, arguments=arguments), folder)
