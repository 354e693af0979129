"""What the truth test submits: every task, its queue and what its life will be, as plain data.

Owns the list of submissions. The client publishes it, the workers act it out, and truth.py derives the expected
numbers from it; so this module must not know Celery, brokers or metrics.
"""

import random
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

PAY, SHIP, MAIL, STOCK, REPORT = TASKS = ("shop.pay", "shop.ship", "shop.mail", "shop.stock", "shop.report")
MISSING = "shop.forgotten"
"""A name that no worker has registered."""
GIFT, PARCEL = "shop.gift", "shop.parcel"
"""A task that is always published under a shadow name, and that name."""

ALPHA, BETA, GAMMA = QUEUES = ("alpha", "beta", "gamma")
"""One worker each: alpha is consumed by a prefork pool, beta by threads, gamma by a solo pool; or all by greenlets."""
EVERYONE = "everyone"
"""The broadcast queue that all of them consume beside their own."""
BROADCAST_FAILS_ON = BETA
"""The queue whose worker fails in a broadcast task."""

ACKS_LATE = frozenset({SHIP, STOCK})
"""Tasks that acknowledge when they end: only these can reject their message or be redelivered."""


class Behaviour(StrEnum):
    """One kind of life. The value travels in the message as the task's first argument."""

    SUCCEED = "succeed"
    FAIL_VALUE = "fail-value"
    FAIL_DECLINED = "fail-declined"
    FAIL_ODD_REPR = "fail-odd-repr"
    RETRY_ONCE = "retry-once"
    RETRY_TWICE = "retry-twice"
    RETRY_BARE = "retry-bare"
    RETRY_THEN_FAIL = "retry-then-fail"
    REJECT_DROP = "reject-drop"
    REJECT_REQUEUE = "reject-requeue"
    IGNORE = "ignore"
    REPLACE = "replace"
    REPLACE_ELSEWHERE = "replace-elsewhere"
    CUSTOM_EVENT = "custom-event"
    ETA = "eta"
    # The task's id is a UUID object, where the broker takes one.
    UUID_OBJECT = "uuid-object"
    UNREGISTERED = "unregistered"
    REVOKED_UNSEEN = "revoked-unseen"
    EXPIRED_UNSEEN = "expired-unseen"
    SOFT_LIMIT = "soft-limit"
    SOFT_LIMIT_HANDLED = "soft-limit-handled"
    # The lives below are led on an otherwise idle prefork worker: they end its pool's processes, need both of them to
    # be occupied, or must not go on before the worker noticed their start.
    HARD_LIMIT = "hard-limit"
    TERMINATED = "terminated"
    KILLED = "killed"
    LOST = "lost"
    LOST_REQUEUED = "lost-requeued"
    HELD = "held"
    REPLACE_RELEASED = "replace-released"
    REVOKED_WAITING = "revoked-waiting"
    EXPIRED_WAITING = "expired-waiting"
    # Revoked while the worker holds it until its eta.
    REVOKED_SCHEDULED = "revoked-scheduled"
    # Published with a shadow name.
    SHADOWED = "shadowed"
    # Published again under the same id, on the next queue, while it runs: it fails here and succeeds there.
    PUBLISHED_TWICE = "published-twice"
    # Published once to a broadcast queue: every worker runs it at the same time, and on one of them it fails.
    BROADCAST = "broadcast"


#: Lives that the client leads, or whose progress it asks for, by remote control; and the broadcast.
NEED_FANOUT = frozenset(
    {
        Behaviour.REVOKED_UNSEEN,
        Behaviour.HARD_LIMIT,
        Behaviour.TERMINATED,
        Behaviour.KILLED,
        Behaviour.LOST,
        Behaviour.LOST_REQUEUED,
        Behaviour.HELD,
        Behaviour.REPLACE_RELEASED,
        Behaviour.REVOKED_WAITING,
        Behaviour.EXPIRED_WAITING,
        Behaviour.REVOKED_SCHEDULED,
        Behaviour.BROADCAST,
    }
)


#: Lives that a pool of processes leads: soft limits are signals, the end of a process would be that of a worker with
#: greenlets, and while all of its greenlets are occupied, such a worker receives no further task that it could hold.
#: Terminations and hard limits have other ends there, which differ by pool and version.
NEED_PROCESSES = frozenset(
    {
        Behaviour.SOFT_LIMIT,
        Behaviour.SOFT_LIMIT_HANDLED,
        Behaviour.HARD_LIMIT,
        Behaviour.TERMINATED,
        Behaviour.KILLED,
        Behaviour.LOST,
        Behaviour.LOST_REQUEUED,
        Behaviour.HELD,
        Behaviour.REVOKED_WAITING,
        Behaviour.EXPIRED_WAITING,
    }
)


@dataclass(frozen=True, slots=True)
class Submission:
    """One task as the client submits it."""

    uuid: str
    task: str
    queue: str
    behaviour: Behaviour


def replacement(task: str) -> str:
    """The name under which a replaced task goes on."""
    return TASKS[(TASKS.index(task) + 1) % len(TASKS)]


def other_queue(queue: str) -> str:
    """The queue to which `REPLACE_ELSEWHERE` moves on."""
    return QUEUES[(QUEUES.index(queue) + 1) % len(QUEUES)]


# How many of each behaviour for each task name on each queue. `_spread` adds to it, so that hardly two label sets
# share a number: a value that ends up under a wrong label then shows.
_EVERYWHERE: Mapping[Behaviour, int] = {
    Behaviour.SUCCEED: 60,
    Behaviour.FAIL_VALUE: 7,
    Behaviour.FAIL_DECLINED: 5,
    Behaviour.FAIL_ODD_REPR: 3,
    Behaviour.RETRY_ONCE: 6,
    Behaviour.RETRY_TWICE: 4,
    Behaviour.RETRY_BARE: 2,
    Behaviour.RETRY_THEN_FAIL: 3,
    Behaviour.IGNORE: 2,
    Behaviour.CUSTOM_EVENT: 2,
    Behaviour.ETA: 4,
    Behaviour.REVOKED_UNSEEN: 3,
    Behaviour.EXPIRED_UNSEEN: 2,
    Behaviour.UUID_OBJECT: 3,
}
_NOT_PREFORK: Mapping[Behaviour, int] = {Behaviour.REPLACE: 2}
_ACKS_LATE_ONLY: Mapping[Behaviour, int] = {Behaviour.REJECT_DROP: 5, Behaviour.REJECT_REQUEUE: 4}
_SINGLE: tuple[tuple[str, str, Behaviour, int], ...] = (
    (MAIL, BETA, Behaviour.REPLACE_ELSEWHERE, 3),
    (STOCK, GAMMA, Behaviour.REPLACE_ELSEWHERE, 4),
    (MISSING, ALPHA, Behaviour.UNREGISTERED, 5),
    (MISSING, BETA, Behaviour.UNREGISTERED, 4),
    (MISSING, GAMMA, Behaviour.UNREGISTERED, 3),
    (PAY, ALPHA, Behaviour.SOFT_LIMIT, 4),
    (SHIP, ALPHA, Behaviour.SOFT_LIMIT, 2),
    (REPORT, ALPHA, Behaviour.SOFT_LIMIT_HANDLED, 3),
    (STOCK, ALPHA, Behaviour.HARD_LIMIT, 1),
    (MAIL, ALPHA, Behaviour.TERMINATED, 1),
    (SHIP, ALPHA, Behaviour.TERMINATED, 1),
    (REPORT, ALPHA, Behaviour.KILLED, 1),
    (PAY, ALPHA, Behaviour.LOST, 1),
    (STOCK, ALPHA, Behaviour.LOST_REQUEUED, 1),
    (REPORT, ALPHA, Behaviour.HELD, 2),
    (SHIP, ALPHA, Behaviour.REPLACE_RELEASED, 2),
    (REPORT, ALPHA, Behaviour.REPLACE_RELEASED, 1),
    (MAIL, ALPHA, Behaviour.REVOKED_WAITING, 3),
    (PAY, ALPHA, Behaviour.EXPIRED_WAITING, 2),
    (MAIL, ALPHA, Behaviour.REVOKED_SCHEDULED, 2),
    (SHIP, BETA, Behaviour.REVOKED_SCHEDULED, 2),
    (PAY, GAMMA, Behaviour.REVOKED_SCHEDULED, 1),
    (GIFT, ALPHA, Behaviour.SHADOWED, 3),
    (GIFT, BETA, Behaviour.SHADOWED, 2),
    (MAIL, ALPHA, Behaviour.PUBLISHED_TWICE, 2),
    (PAY, BETA, Behaviour.PUBLISHED_TWICE, 1),
    (REPORT, EVERYONE, Behaviour.BROADCAST, 3),
)

_NAMESPACE = uuid.UUID("5b0c5a0e-6a7c-4f0b-9a55-6c1f0c1a3a11")
_SHUFFLE_SEED = 20


def submissions(*, fanout: bool = True, processes: bool = True, few: bool = False) -> tuple[Submission, ...]:
    """All tasks in the order of submission; the same in every process that asks.

    ``fanout`` and ``processes`` False leave out what needs a broker with fanout, and what a pool of processes. ``few``
    takes every ninth of the lives that there are many of, since some workers are slow: those without fanout all are.
    """
    few = few or not fanout
    planned = list(_planned())
    random.Random(_SHUFFLE_SEED).shuffle(planned)
    seen: Counter[tuple[str, str, Behaviour]] = Counter()
    chosen = []
    for index, kind in enumerate(planned):
        task, queue, behaviour = kind
        possible = (fanout or behaviour not in NEED_FANOUT) and (processes or behaviour not in NEED_PROCESSES)
        if possible and not (few and seen[kind] % 9):
            chosen.append(Submission(str(uuid.uuid5(_NAMESPACE, str(index))), task, queue, behaviour))
        seen[kind] += 1
    return tuple(chosen)


def _planned() -> Iterator[tuple[str, str, Behaviour]]:
    for position, (task, queue) in enumerate((task, queue) for task in TASKS for queue in QUEUES):
        counts = dict(_EVERYWHERE)
        if task in ACKS_LATE:
            counts |= _ACKS_LATE_ONLY
        if queue != ALPHA:
            counts |= _NOT_PREFORK
        for behaviour, count in counts.items():
            for _ in range(count + _spread(position, count)):
                yield task, queue, behaviour
    for task, queue, behaviour, count in _SINGLE:
        for _ in range(count):
            yield task, queue, behaviour


def _spread(position: int, count: int) -> int:
    return position * count // 14
