"""A real Valkey server, which speaks Redis' protocol."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.integration.servers.certificates import Certificates
from tests.integration.servers.ports import HOST, free_port
from tests.integration.servers.process import ServerProcess
from tests.integration.servers.programs import redis_command
from tests.integration.servers.tls_front import TlsFront

_START_S = 15.0
_NO_SETTINGS: Mapping[str, str] = {}


class Valkey:
    """One server on 127.0.0.1 with its data in ``folder``; a context manager that starts and stops it.

    It keeps its port over stop and start. With ``tls``, :attr:`url` is a ``rediss://`` address whose certificate
    the authority in ``tls`` signed; ``verify_client`` makes the server demand a client certificate. ``config``
    holds more directives of valkey.conf, written as they are.
    """

    def __init__(
        self,
        folder: Path,
        *,
        password: str | None = None,
        tls: Certificates | None = None,
        verify_client: bool = False,
        config: Mapping[str, str] = _NO_SETTINGS,
        arguments: tuple[str, ...] = (),
        port: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.plain_port = port or free_port()
        self.port = free_port() if tls else self.plain_port
        self.password = password
        self._tls = tls
        self._verify_client = verify_client
        self._front: TlsFront | None = None
        settings = {"port": str(self.plain_port), "bind": HOST, "dir": f'"{folder}"'}
        if "--sentinel" not in arguments:
            settings["save"] = '""'
        if password:
            settings |= {"requirepass": password, "masterauth": password}
        settings |= config
        file = folder / "valkey.conf"
        file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        self.process = ServerProcess(
            [*redis_command(), file, *arguments], log=folder / "valkey.log", cwd=folder
        )

    @property
    def url(self) -> str:
        """The broker URL of database 0."""
        return f"{'rediss' if self._tls else 'redis'}://{self._credentials}{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    @property
    def version(self) -> tuple[int, ...]:
        """The version of Redis that the running server says it is like, such as (7, 2, 4); Valkey says 7.2.4."""
        with self.client() as client:
            return tuple(map(int, client.info("server")["redis_version"].split(".")))

    @property
    def _credentials(self) -> str:
        return f":{self.password}@" if self.password else ""

    def client(self) -> "redis.Redis":
        """Connect to database 0, without TLS and retries; the caller closes the client, best by ``with``."""
        return redis.Redis(
            host=HOST,
            port=self.plain_port,
            password=self.password,
            socket_timeout=5.0,
            retry=Retry(NoBackoff(), 0),
        )

    def start(self) -> None:
        """Start the server, on the same port each time; returns when it answers."""
        self.process.start()
        self.process.wait_until(
            self._answers, timeout=_START_S, what=f"an answer of Valkey on {self.plain_port}"
        )
        if self._tls:
            context = self._tls.server_context(verify_client=self._verify_client)
            self._front = TlsFront(self.plain_port, context, port=self.port)

    def stop(self) -> None:
        """Stop the server; its data is gone."""
        self._stop_front()
        self.process.stop()

    def kill(self) -> None:
        """End the server without a farewell (SIGKILL)."""
        self._stop_front()
        self.process.kill()

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

    def _stop_front(self) -> None:
        if self._front is not None:
            self._front.stop()
            self._front = None

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                answering = client.info("server")["process_id"]
            except redis.exceptions.AuthenticationError:
                raise
            except redis.exceptions.RedisError:
                return False
        assert answering == self.pid, f"process {answering} has port {self.plain_port}, {self.pid} cannot"
        return True
