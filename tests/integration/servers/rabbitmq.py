"""A real RabbitMQ server with an epmd (Erlang's port mapper) of its own."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import amqp

from tests.integration.servers.certificates import Certificates
from tests.integration.servers.ports import HOST, free_port
from tests.integration.servers.process import ServerProcess
from tests.integration.servers.programs import command, rabbitmq_conf
from tests.waiting import wait_for

_START_S = 90.0
_STOP_S = 30.0
_CTL_S = 60.0
_REQUEST_S = 10.0
_USER = "guest"
_PASSWORD = "guest"


class Ports(NamedTuple):
    """The ports of one server."""

    amqp: int
    management: int
    epmd: int
    distribution: int

    @classmethod
    def free(cls) -> Self:
        """Four that nobody listens on."""
        return cls(*(free_port() for _ in cls._fields))


class RabbitMQ:
    """One broker on 127.0.0.1 with everything it writes in ``folder``; a context manager. Up in about 10 s.

    It keeps its ports, users and virtual hosts over stop and start. With ``tls`` it listens with TLS only and
    :attr:`url` is an ``amqps://`` address; ``verify_client`` makes it demand a client certificate. The management
    plugin is always on: its HTTP API makes virtual hosts in no time.

    With folder and ports of a server that another process runs, one can talk to that, but not start, stop or pause it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Ports | None = None,
        tls: Certificates | None = None,
        verify_client: bool = False,
    ) -> None:
        self.ports = ports or Ports.free()
        self.port = self.ports.amqp
        self.management_port = self.ports.management
        self._tls = tls
        self._verify_client = verify_client
        self._folder = folder
        self._env = self._environment()
        self._epmd = ServerProcess(
            [*command("epmd"), "-port", str(self.ports.epmd), "-address", HOST],
            log=folder / "epmd.log",
            env=self._env,
        )
        self.process = ServerProcess(
            command("rabbitmq-server"), log=folder / "rabbitmq.log", env=self._env, cwd=folder
        )

    @property
    def url(self) -> str:
        """The broker URL of the default virtual host, with user and password."""
        return self.vhost_url("/")

    @property
    def management_url(self) -> str:
        """The address of the management plugin, with user and password."""
        return f"http://{_USER}:{_PASSWORD}@{HOST}:{self.management_port}"

    @cached_property
    def version(self) -> tuple[int, ...]:
        """The server's version, such as (4, 0, 5)."""
        overview: Any = self.api("GET", "overview")
        return tuple(map(int, overview["rabbitmq_version"].split(".")))

    @property
    def hides_queues(self) -> bool:
        """Whether it tells how long a queue is to users only who have a permission on it."""
        return self.version >= (4, 2, 6)

    @cached_property
    def permits_transient(self) -> bool:
        """Whether it takes queues that are neither durable nor exclusive: who built it, and its settings decide."""
        with amqp.Connection(f"{HOST}:{self.port}", _USER, _PASSWORD) as connection:
            channel = connection.channel()
            try:
                name, _, _ = channel.queue_declare(exclusive=False, durable=False)
            except amqp.InternalError:
                return False
            channel.queue_delete(name)
        return True

    @property
    def pid(self) -> int:
        """The server's process id, which is its process group as well."""
        return self.process.pid

    @property
    def epmd_pid(self) -> int:
        """The process id of the server's own epmd."""
        return self._epmd.pid

    def vhost_url(self, vhost: str, *, user: str = _USER, password: str = _PASSWORD) -> str:
        """The broker URL of a virtual host, for any user."""
        scheme = "amqps" if self._tls else "amqp"
        return f"{scheme}://{user}:{password}@{HOST}:{self.port}/{quote(vhost, safe='')}"

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl (takes seconds) and return its standard output."""
        done = subprocess.run(
            [*command("rabbitmqctl"), "--quiet", *arguments],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=_CTL_S,
            check=False,
        )
        assert done.returncode == 0, f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def api(self, method: str, path: str, body: object = None, *, reason: str | None = None) -> object:
        """Call the management plugin's HTTP API, for example ``api("GET", "queues/%2F")``; returns its JSON.

        ``reason`` is told to whoever loses a connection by it.
        """
        request = urllib.request.Request(
            f"http://{HOST}:{self.management_port}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Basic {b64encode(f'{_USER}:{_PASSWORD}'.encode()).decode()}",
                "Content-Type": "application/json",
                **({"X-Reason": reason} if reason else {}),
            },
        )
        with urllib.request.urlopen(request, timeout=_REQUEST_S) as response:  # noqa: S310 - see above
            content = response.read()
        return json.loads(content) if content else None

    def add_vhost(self, vhost: str) -> str:
        """Create a virtual host that guest may use, and return its broker URL."""
        name = quote(vhost, safe="")
        self.api("PUT", f"vhosts/{name}")
        self.set_permissions(vhost, _USER)
        return self.vhost_url(vhost)

    def delete_vhost(self, vhost: str) -> None:
        """Remove a virtual host with its queues; its connections are closed."""
        self.api("DELETE", f"vhosts/{quote(vhost, safe='')}")

    def queues(self, vhost: str) -> list[str]:
        """The names of a virtual host's queues."""
        found: Any = self.api("GET", f"queues/{quote(vhost, safe='')}?disable_stats=true")
        return [each["name"] for each in found]

    def close_connections(self, vhost: str, *, number: int, reason: str | None = None) -> None:
        """Close all connections to a virtual host, as soon as the management plugin knows of so many."""

        def names() -> list[str]:
            found: Any = self.api("GET", f"vhosts/{quote(vhost, safe='')}/connections")
            return [each["name"] for each in found]

        wait_for(lambda: len(names()) >= number, timeout=_REQUEST_S, what=f"connections to {vhost}")
        for name in names():
            self.api("DELETE", f"connections/{quote(name, safe='')}", reason=reason)

    def add_user(self, user: str, password: str) -> None:
        """Create a user who may do nothing yet."""
        self.api("PUT", f"users/{quote(user, safe='')}", {"password": password, "tags": ""})

    def set_permissions(
        self, vhost: str, user: str, *, configure: str = ".*", write: str = ".*", read: str = ".*"
    ) -> None:
        """Say by regular expressions which names a user may configure, write to and read from."""
        path = f"permissions/{quote(vhost, safe='')}/{quote(user, safe='')}"
        self.api("PUT", path, {"configure": configure, "write": write, "read": read})

    def start(self) -> None:
        """Start the server, on the same ports each time; returns when AMQP and the HTTP API answer."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "rabbitmq.conf").write_text("\n".join([*self._config(), ""]))
        (self._folder / "enabled_plugins").write_text("[rabbitmq_management].")
        self._epmd.start()
        self.process.start()
        self.process.wait_until(self._answers, timeout=_START_S, what=f"an answer of RabbitMQ on {self.port}")

    def stop(self) -> None:
        """Stop the server and its epmd; durable queues and messages stay."""
        self.process.stop(timeout=_STOP_S)
        self._epmd.stop()

    def kill(self) -> None:
        """End the server without a farewell (SIGKILL)."""
        self.process.kill()
        self._epmd.stop()

    def pause(self) -> None:
        """Freeze the server: connections stay open, nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """Let the frozen server go on."""
        self.process.resume()

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, whatever happened."""
        self.stop()

    def _answers(self) -> bool:
        ssl: bool | dict[str, str] = False
        if self._tls:
            ssl = {
                "ca_certs": str(self._tls.ca_file),
                "certfile": str(self._tls.client_cert_file),
                "keyfile": str(self._tls.client_key_file),
            }
        connection = amqp.Connection(f"{HOST}:{self.port}", _USER, _PASSWORD, ssl=ssl, connect_timeout=5)
        try:
            connection.connect()
            self.api("GET", "overview")
        except (OSError, amqp.AMQPError, urllib.error.URLError):
            return False
        finally:
            connection.collect()
        return True

    def _config(self) -> list[str]:
        lines = [
            f"management.tcp.ip = {HOST}",
            f"management.tcp.port = {self.management_port}",
            "collect_statistics_interval = 1000",
            "disk_free_limit.absolute = 1MB",
            "log.console = true",
            # Up to 3.13 it is so by itself. Events that are too large for the exporter have to reach it.
            "max_message_size = 134217728",
            "log.file = false",
            *rabbitmq_conf(),
        ]
        if self._tls is None:
            return [*lines, f"listeners.tcp.1 = {HOST}:{self.port}"]
        return [
            *lines,
            "listeners.tcp = none",
            f"listeners.ssl.1 = {HOST}:{self.port}",
            f"ssl_options.cacertfile = {self._tls.ca_file}",
            f"ssl_options.certfile = {self._tls.server_cert_file}",
            f"ssl_options.keyfile = {self._tls.server_key_file}",
            f"ssl_options.verify = {'verify_peer' if self._verify_client else 'verify_none'}",
            f"ssl_options.fail_if_no_peer_cert = {'true' if self._verify_client else 'false'}",
        ]

    def _environment(self) -> dict[str, str]:
        # rabbitmq-env reads RABBITMQ_* before the machine's own /etc/rabbitmq/rabbitmq-env.conf.
        folder = self._folder
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self.ports.epmd),
            "ERL_EPMD_ADDRESS": HOST,
            # A long name, so that Erlang does not ask the machine's resolver who "localhost" is.
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_NODENAME": f"rabbit-{self.port}@{HOST}",
            "RABBITMQ_DIST_PORT": str(self.ports.distribution),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
            # Idle schedulers sleep at once instead of spinning: the machine is shared with workers and tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
