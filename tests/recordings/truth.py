"""What is true of one task on one queue, and the bricks of a task's life; knows neither events nor files.

Counting rules: one per event of a type, but neither exact duplicates nor a second terminal outcome
(succeeded, failed, revoked) of an attempt that has ended; task-rejected counts besides a task-failed.
"""

from collections import Counter
from dataclasses import dataclass, field, fields

Label = tuple[str, str]
"""(task, queue)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Counts of one (task, queue); ``+`` joins two lives, ``*`` repeats one."""

    sent: int = 0
    received: int = 0
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """requeue ("true", "false") -> events"""
    revoked: Counter[str] = field(default_factory=Counter)
    """reason ("revoked", "expired", "terminated") -> events"""
    exceptions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(exception class, outcome "failed" or "retried") -> events"""
    runtimes: Counter[str] = field(default_factory=Counter)
    """outcome ("succeeded", "failed", "retried") -> observations"""
    queue_waits: int = 0
    """Starts whose task-sent is known."""
    prefetch_waits: int = 0
    """Starts whose task-received is known."""

    def __add__(self, other: "Truth") -> "Truth":
        return Truth(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Truth)})

    def __mul__(self, times: int) -> "Truth":
        return sum((self for _ in range(times)), Truth())


NOTHING = Truth()
SENT = Truth(sent=1)
RECEIVED = Truth(received=1)
STARTED = Truth(started=1, queue_waits=1, prefetch_waits=1)
"""A start; in the recorded workload each follows a task-sent and a task-received."""
REDELIVERED = RECEIVED + STARTED
"""Another attempt at a message that was published before."""
RUN = SENT + RECEIVED + STARTED
SUCCEEDED = Truth(succeeded=1, runtimes=Counter(succeeded=1))


def failed(exception: str) -> Truth:
    """A failure of an attempt that was started."""
    return Truth(failed=1, exceptions=Counter({(exception, "failed"): 1}), runtimes=Counter(failed=1))


def failed_unstarted(exception: str) -> Truth:
    """A failure without a start, so without a runtime."""
    return Truth(failed=1, exceptions=Counter({(exception, "failed"): 1}))


def retried(exception: str) -> Truth:
    """The end of an attempt that another one follows."""
    return Truth(retried=1, exceptions=Counter({(exception, "retried"): 1}), runtimes=Counter(retried=1))


def rejected(*, requeue: bool) -> Truth:
    """A message given back to the broker."""
    return Truth(rejected=Counter({str(requeue).lower(): 1}))


def revoked(reason: str) -> Truth:
    """A task that was revoked, expired or terminated."""
    return Truth(revoked=Counter({reason: 1}))
