"""Faults of RabbitMQ: those of a connection, a user or a virtual host, and those of the whole server.

For the receiver that RabbitMQ has of its own, some for the universal one too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import amqp

from tests.integration.faults import network
from tests.integration.faults.front import Front
from tests.integration.faults.trial import Fault, Outcome, Scene, Stage, run_trial
from tests.integration.servers import HOST, RabbitMQ

PASSWORD: Final = "known-to-nobody"
UNIVERSAL: Final = ("--receiver", "kombu")
FIXED_QUEUE: Final = "celeryev.celery-exporter.single"
#: The exporter's for events, samples and remote control, and the one that events are sent over.
_CONNECTIONS: Final = 4


@contextmanager
def closed(scene: Scene) -> Iterator[None]:
    """An operator closes the connections."""
    server, vhost = _server(scene)
    server.close_connections(vhost, number=_CONNECTIONS)
    yield


@contextmanager
def password(scene: Scene) -> Iterator[None]:
    """The password is changed, all connections are closed, and the password is what it was again."""
    server, vhost = _server(scene)
    server.add_user(vhost, "another")
    server.close_connections(vhost, number=_CONNECTIONS)
    yield
    server.add_user(vhost, PASSWORD)


@contextmanager
def vhost_deleted(scene: Scene) -> Iterator[None]:
    """The virtual host is deleted, and made again."""
    server, vhost = _server(scene)
    # Its queues go first, and with them the consumer: who is quick would find the rest still there and subscribe twice.
    server.api("PUT", f"vhost-limits/{vhost}/max-connections", {"value": 0})
    server.delete_vhost(vhost)
    yield
    server.add_vhost(vhost)
    server.set_permissions(vhost, vhost)


@contextmanager
def queue_deleted(scene: Scene) -> Iterator[None]:
    """The event queue is deleted."""
    server, vhost = _server(scene)
    (queue,) = (name for name in server.queues(vhost) if name.startswith("celeryev."))
    server.api("DELETE", f"queues/{quote(vhost, safe='')}/{queue}")
    yield


@contextmanager
def queue_taken(scene: Scene) -> Iterator[None]:
    """Somebody else has an exclusive queue of the name that ours has."""
    server, vhost = _server(scene)
    connection = amqp.Connection(f"{HOST}:{server.port}", "guest", "guest", virtual_host=vhost)
    connection.connect()
    channel = connection.channel()
    channel.queue_delete(FIXED_QUEUE)
    channel.queue_declare(FIXED_QUEUE, exclusive=True)
    yield
    connection.close()


@contextmanager
def restart(scene: Scene) -> Iterator[None]:
    """The broker stops in good order, and starts."""
    server, _ = _server(scene)
    server.ctl("stop_app")
    yield
    server.ctl("start_app")


@contextmanager
def kill(scene: Scene) -> Iterator[None]:
    """The broker is killed and started."""
    server, _ = _server(scene)
    server.kill()
    yield
    server.start()


@contextmanager
def stall(scene: Scene) -> Iterator[None]:
    """The broker is frozen and goes on."""
    server, _ = _server(scene)
    server.pause()
    try:
        yield
    finally:
        server.resume()


@contextmanager
def memory_alarm(scene: Scene) -> Iterator[None]:
    """The broker has no memory left and lets nobody publish."""
    server, _ = _server(scene)
    server.ctl("set_vm_memory_high_watermark", "absolute", "1")
    try:
        yield
    finally:
        server.ctl("set_vm_memory_high_watermark", "0.4")


def _server(scene: Scene) -> tuple[RabbitMQ, str]:
    """The server, and the name of the virtual host, which is that of the user as well."""
    server: RabbitMQ = scene.stage.server
    return server, scene.stage.url.rpartition("/")[2]


_MISSED: Final = ("heartbeat",)

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "half-open-to-client": Fault(network.half_open_to_client, says=_MISSED, broker_down=True, mute=True),
        "half-open-to-server": Fault(network.half_open_to_server, says=("onnection",), broker_down=True),
        "half-open": Fault(network.half_open, says=_MISSED, broker_down=True, mute=True),
        "reset": Fault(network.reset, says=("reset",), broker_down=False),
        "address": Fault(network.moved, says=("refused",), seconds=2, broker_down=True),
        "closed": Fault(closed, says=("CONNECTION_FORCED", "Closed via management plugin")),
        "password": Fault(password, says=("ACCESS_REFUSED",), seconds=2, broker_down=True),
        "vhost-deleted": Fault(vhost_deleted, says=("vhost",), seconds=2, broker_down=True),
        "queue-deleted": Fault(queue_deleted, says=("Basic.cancel",), broker_down=False),
        "queue-taken": Fault(queue_taken, says=("RESOURCE_LOCKED",), seconds=2, broker_down=False),
        "universal:half-open": Fault(network.half_open, says=_MISSED, broker_down=True, mute=True),
        "universal:reset": Fault(network.reset, says=("reset",), broker_down=False),
        "universal:closed": Fault(closed, says=("CONNECTION_FORCED", "Closed via management plugin")),
        "universal:queue-deleted": Fault(queue_deleted, says=("Basic.cancel",), broker_down=False),
    }
)
SERVER_FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "stall": Fault(stall, seconds=10, broker_down=True, lossless=True),
        "memory-alarm": Fault(memory_alarm, seconds=6, broker_down=False, lossless=True),
        "restart": Fault(restart, says=("refused",), seconds=2, broker_down=True),
        "kill": Fault(kill, says=("refused",), seconds=2, broker_down=True),
    }
)
_THROUGH_FRONT: Final = frozenset({"half-open-to-client", "half-open-to-server", "half-open", "reset"})
#: Nobody else can delete an exclusive queue, and not every RabbitMQ takes one that is neither exclusive nor durable.
_DURABLE: Final = ("--event-queue-durable", "--no-event-queue-exclusive")
_ARGUMENTS: Final = {"queue-taken": _DURABLE, "queue-deleted": _DURABLE}


def trial(name: str, server: RabbitMQ, folder: Path) -> Outcome:
    """Run the trial of a fault, in a virtual host and as a user of its own."""
    fault = {**FAULTS, **SERVER_FAULTS}[name]
    kind, _, rest = name.rpartition(":")
    vhost = f"fault-{kind}-{rest}"
    hosts = folder / "hosts"
    server.add_user(vhost, PASSWORD)
    settings = {"broker_url": server.add_vhost(vhost)}
    server.set_permissions(vhost, vhost)
    with Front(server.port) as front:
        url = server.vhost_url(vhost, user=vhost, password=PASSWORD)
        stage = partial(Stage, settings, server=server, front=front, secret=PASSWORD)
        fronted = url.replace(f":{server.port}/", f":{front.port}/")
        if fault.inject is network.moved:
            network.name(hosts, HOST)
            url = fronted.replace(HOST, network.MOVING)
            outcome = run_trial(fault, stage(url=url, hosts=hosts, command=network.with_hosts(hosts)), folder)
        else:
            url = fronted if rest in _THROUGH_FRONT else url
            arguments = (*_ARGUMENTS.get(rest, ()), *(UNIVERSAL if kind else ()))
            outcome = run_trial(fault, stage(url=url, arguments=arguments), folder)
    server.delete_vhost(vhost)
    return outcome
