"""What a step of the workload can do and wait for, on running workers."""

from redis import Redis

from tests.recordings.listener import Listener
from tests.recordings.processes import NODE_NAMES, Client
from tests.waiting import wait_for

_TIMEOUT_S = 60


class Stage:
    """Publishes through the client, listens through the listener; waits fail after a minute."""

    def __init__(self, broker_url: str, client: Client, listener: Listener) -> None:
        self._redis = Redis.from_url(broker_url)
        self._client = client
        self._listener = listener

    def wait_workers(self) -> None:
        """Wait until all workers say that they are online and answer remote control."""
        for name in NODE_NAMES:
            self.wait_event("worker-online", name)
        wait_for(
            lambda: self._client.call("ping", workers=NODE_NAMES),
            timeout=_TIMEOUT_S,
            what="answers to a ping",
        )

    def send(self, task: str, queue: str, *args: object, times: int = 1, **options: object) -> list[str]:
        """Publish a task ``times`` times; return the ids."""
        answer = self._client.call(
            "send", task=task, args=args, times=times, options={"queue": queue, **options}
        )
        assert isinstance(answer, list)
        return answer

    def send_group(self, numbers: list[int], queue: str) -> list[str]:
        """Publish a group of ``recorded.add``; return the ids of its members."""
        answer = self._client.call("send_group", numbers=numbers, queue=queue)
        assert isinstance(answer, list)
        return answer

    def send_chord(self, numbers: list[int], queue: str, body_queue: str) -> str:
        """Publish a chord of ``recorded.add`` that ends in ``recorded.total``; return the id of that body."""
        answer = self._client.call("send_chord", numbers=numbers, queue=queue, body_queue=body_queue)
        assert isinstance(answer, str)
        return answer

    def revoke(self, task_id: str, worker: str, **options: object) -> None:
        """Revoke a task on a worker, until that worker confirms it."""
        wait_for(
            lambda: self._client.call("revoke", task_id=task_id, worker=worker, options=options),
            timeout=_TIMEOUT_S,
            what=f"{worker} to confirm that {task_id} is revoked",
        )

    def open(self, gate: str) -> None:
        """Let one task that waits for ``gate`` go on."""
        self._redis.lpush(gate, "open")

    def wait_event(self, event_type: str, subject: str) -> None:
        """Wait until such an event of a task (by its id) or a worker (by its node name) has arrived."""
        wait_for(
            lambda: self._listener.seen(event_type, subject),
            timeout=_TIMEOUT_S,
            what=f"{event_type} of {subject}",
        )

    def wait_result(self, task_id: str) -> None:
        """Wait until the task's result is stored."""
        assert self._client.call("wait_result", task_id=task_id)

    def close(self) -> None:
        """Give up the connection; client and listener belong to others."""
        self._redis.close()
