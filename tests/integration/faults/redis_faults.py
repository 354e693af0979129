"""Faults of Valkey, for the receiver that Redis has of its own and for the universal one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.integration.faults import network
from tests.integration.faults.front import Front
from tests.integration.faults.trial import Fault, Outcome, Scene, Stage, run_trial
from tests.integration.servers import HOST, Valkey

PASSWORD: Final = "known-to-nobody"
UNIVERSAL: Final = ("--receiver", "kombu")

TOPIC: Final = "/0.celeryev/task.sent"
#: How often a burst tries to get a subscriber cut off.
_BURST: Final = 20_000


@contextmanager
def restart(scene: Scene) -> Iterator[None]:
    """The server is stopped and started."""
    scene.stage.server.stop()
    yield
    scene.stage.server.start()


@contextmanager
def kill(scene: Scene) -> Iterator[None]:
    """The server is killed and started."""
    scene.stage.server.kill()
    yield
    scene.stage.server.start()


@contextmanager
def stall(scene: Scene) -> Iterator[None]:
    """The server is frozen and goes on."""
    scene.stage.server.pause()
    try:
        yield
    finally:
        scene.stage.server.resume()


@contextmanager
def password(scene: Scene) -> Iterator[None]:
    """The password is changed, all connections are closed, and the password is what it was again."""
    with scene.stage.server.client() as client:
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub")
        yield
        client.config_set("requirepass", PASSWORD)


@contextmanager
def client_kill(scene: Scene) -> Iterator[None]:
    """An operator closes the connections of subscribers."""
    with scene.stage.server.client() as client:
        client.client_kill_filter(_type="pubsub")
        yield


@contextmanager
def output_buffer(scene: Scene) -> Iterator[None]:
    """The exporter stands still, and more is published than the server keeps for it."""
    with scene.stage.server.client() as client, scene.watch.suspended():
        client.config_set("client-output-buffer-limit", "pubsub 1mb 1mb 0")
        scene.exporter.pause()
        published = 0
        while client.publish(TOPIC, "x" * 10_000) and published < _BURST:
            published += 1
        scene.exporter.resume()
    assert published < _BURST, "the server cut nobody off"
    yield


_CLOSED: Final = ("onnection",)
_NO_PING: Final = ("no answer to PING",)

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "restart": Fault(restart, says=("refused",), seconds=2, broker_down=True),
        "kill": Fault(kill, says=("refused",), seconds=2, broker_down=True),
        "stall": Fault(stall, seconds=10, broker_down=True, lossless=True),
        "half-open-to-client": Fault(network.half_open_to_client, says=_NO_PING, broker_down=True, mute=True),
        "half-open-to-server": Fault(
            network.half_open_to_server, says=_NO_PING, broker_down=True, silent=True, mute=True
        ),
        "half-open": Fault(network.half_open, says=_NO_PING, broker_down=True, mute=True),
        "reset": Fault(network.reset, says=("reset",), broker_down=False),
        "password": Fault(password, says=("invalid username-password pair",), seconds=2, broker_down=True),
        "client-kill": Fault(client_kill, says=_CLOSED, broker_down=False),
        "output-buffer": Fault(output_buffer, says=_CLOSED),
        "address": Fault(network.moved, says=("refused",), seconds=2, broker_down=True),
        "universal:kill": Fault(kill, says=("refused",), seconds=2, broker_down=True),
        "universal:stall": Fault(stall, seconds=10, broker_down=True, lossless=True),
        "universal:half-open": Fault(
            network.half_open, says=("kombu found the connection dead",), broker_down=True
        ),
        "universal:client-kill": Fault(client_kill, says=_CLOSED, broker_down=False),
    }
)
#: Without the exporter's own events, which arrive though the server hears nothing, and break the silence.
_ARGUMENTS: Final = {"half-open-to-server": ("--no-remote-control",)}
_THROUGH_FRONT: Final = frozenset({"half-open-to-client", "half-open-to-server", "half-open", "reset"})


def trial(name: str, folder: Path) -> Outcome:
    """Run the trial of a fault, with a server of its own."""
    fault = FAULTS[name]
    hosts = folder / "hosts"
    with Valkey(folder / "valkey", password=PASSWORD) as server, Front(server.port) as front:
        stage = partial(Stage, {"broker_url": server.url}, server=server, front=front, secret=PASSWORD)
        fronted = server.url.replace(f":{server.port}/", f":{front.port}/")
        kind, _, rest = name.rpartition(":")
        arguments = UNIVERSAL if kind else _ARGUMENTS.get(name, ())
        if fault.inject is network.moved:
            network.name(hosts, HOST)
            url = fronted.replace(HOST, network.MOVING)
            return run_trial(fault, stage(url=url, hosts=hosts, command=network.with_hosts(hosts)), folder)
        url = fronted if rest in _THROUGH_FRONT else server.url
        return run_trial(fault, stage(url=url, arguments=arguments), folder)
