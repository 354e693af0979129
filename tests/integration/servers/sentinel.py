"""A real Valkey master with one replica, watched by three sentinels."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.integration.servers.ports import HOST
from tests.integration.servers.valkey import Valkey
from tests.waiting import wait_for

_DISCOVERY_S = 30.0
_FAILOVER_S = 60.0
_QUORUM = 2


class Sentinels:
    """The whole group; a context manager. ``url`` and ``master_name`` are what kombu's sentinel transport wants."""

    master_name = "celery"

    def __init__(self, folder: Path) -> None:
        self.master = Valkey(folder / "master")
        self.replica = Valkey(folder / "replica", config={"replicaof": f"{HOST} {self.master.port}"})
        self.sentinels = [self._sentinel(folder / f"sentinel-{number}") for number in range(3)]
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """``sentinel://host:port/0;...`` of all sentinels."""
        return ";".join(f"sentinel://{HOST}:{sentinel.port}/0" for sentinel in self.sentinels)

    @property
    def master_port(self) -> int:
        """The port of the master that the sentinels agree on now; 0 while they do not agree."""
        ports = set()
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                ports.add(int(client.sentinel_masters()[self.master_name]["port"]))
        return ports.pop() if len(ports) == 1 else 0

    def fail_over(self) -> None:
        """Kill the master and wait until the sentinels have promoted the replica."""
        self.master.kill()
        self.wait_for_failover()

    def wait_for_failover(self) -> None:
        """Wait until the sentinels have promoted the replica."""
        wait_for(
            lambda: self.master_port == self.replica.port,
            timeout=_FAILOVER_S,
            what=lambda: f"a failover to port {self.replica.port}: {self.sentinels[0].process.describe()}",
        )

    def __enter__(self) -> Self:
        """Start everything; returns when each sentinel knows the replica and its two peers."""
        with ExitStack() as stack:
            for server in (self.master, self.replica, *self.sentinels):
                stack.enter_context(server)
            wait_for(
                self._complete,
                timeout=_DISCOVERY_S,
                what=lambda: f"sentinels that know each other: {self.sentinels[0].process.describe()}",
            )
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self._running.close()

    def _sentinel(self, folder: Path) -> Valkey:
        name = self.master_name
        config = {
            "sentinel monitor": f"{name} {HOST} {self.master.port} {_QUORUM}",
            "sentinel down-after-milliseconds": f"{name} 1000",
            "sentinel failover-timeout": f"{name} 5000",
        }
        return Valkey(folder, config=config, arguments=("--sentinel",))

    def _complete(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                try:
                    state = client.sentinel_masters()[self.master_name]
                except redis.exceptions.RedisError:
                    return False
            peers = len(self.sentinels) - 1
            if (int(state["num-slaves"]), int(state["num-other-sentinels"])) != (1, peers):
                return False
        return self.master_port == self.master.port
