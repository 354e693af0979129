"""Which finished tasks are still remembered, for the events of theirs that may still come, and until when."""

from __future__ import annotations

from collections import deque

#: Finished tasks are kept this long, for the task-sent, the repeated outcome or the redelivery that may still come ...
FINISHED_TTL_SECONDS = 60.0
#: ... but at most this many of them.
MAX_FINISHED = 200_000


class FinishedTasks:
    """The uuids of finished tasks, oldest first.

    Attributes:
        latest: those since the last call of :meth:`expire`; whoever sees a task finish appends it.
    """

    def __init__(self) -> None:
        self.latest: list[str] = []
        self._batches: deque[tuple[float, list[str]]] = deque()  # (monotonic expiry, uuids), one per call
        self._number = 0  # uuids in them

    def expire(self, now: float) -> list[str]:
        """Remove and return the uuids that were kept long enough, or that are too many."""
        batches = self._batches
        if self.latest:
            batches.append((now + FINISHED_TTL_SECONDS, self.latest))
            self._number += len(self.latest)
            self.latest = []
        expired: list[str] = []
        while batches and (batches[0][0] <= now or self._number > MAX_FINISHED):
            expiry, uuids = batches.popleft()
            surplus = self._number - MAX_FINISHED
            if expiry > now and len(uuids) > surplus:
                batches.appendleft((expiry, uuids[surplus:]))
                uuids = uuids[:surplus]
            self._number -= len(uuids)
            expired += uuids
        return expired
