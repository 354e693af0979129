"""Task lives whose counts are known by construction, and the events that they give."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import count
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.pipeline import received, sent, task

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How the last attempt of a task goes: the kinds of its outcome events, in order; the first outcome is the one.
ENDINGS: dict[str, tuple[str, ...]] = {
    "succeeded": ("succeeded",),
    "failed": ("failed",),
    "hard time limit": ("failed", "failed"),
    "rejected": ("rejected",),
    "failed and rejected": ("failed", "rejected"),
    "terminated": ("revoked",),
    "revoked": ("revoked",),
    "ignored": (),
}
#: The endings of attempts that may run on other workers too; a replacement ends one of several executions, and nothing
#: tells which.
SPREAD = ("succeeded", "failed", "hard time limit", "retried", "terminated")


@dataclass(frozen=True)
class Attempt:
    """One publication: where it runs, and what becomes of it."""

    name: str
    queue: str
    retries: int
    worker: str
    delivered: int  # deliveries, all but the last given back with Reject(requeue=True)
    ending: str  # of ENDINGS, or "retried"
    also: tuple[str, ...] = ()  # workers that run the message too, and succeed


@dataclass(frozen=True)
class Life:
    """A task from its first publication to its end."""

    uuid: str
    attempts: tuple[Attempt, ...]


@dataclass
class Told:
    """An event, who sends it, and what it says for the counters if it arrives."""

    sender: str
    event: dict[str, Any]
    counts: tuple[tuple[str, str, str], ...]  # (counter, task, queue)
    outcome_of: tuple[str, int, str] | None = (
        None  # of several outcomes of an execution only the first counts
    )
    waits: dict[str, float] = field(default_factory=dict)  # histogram -> seconds, where its start is observed
    after: Told | None = None  # what always arrives before it


def tell(life: Life, clock: count[int]) -> list[Told]:
    """The events of a life, in the order of what happens. ``clock`` gives each its own second."""
    told: list[Told] = []
    publication = None
    for number in range(len(life.attempts)):
        attempt = list(_tell_attempt(life, number, clock))
        for one in attempt:
            one.after = (
                publication  # by the time that a task is published again, its first task-sent has come
            )
        if life.attempts[number].ending == "revoked":
            attempt[1].after = attempt[
                0
            ]  # with nothing else to tell of it, it would be taken for the attempt before
        publication = attempt[0]
        told += attempt
    return told


def _tell_attempt(life: Life, number: int, clock: count[int]) -> Iterable[Told]:
    attempt = life.attempts[number]
    labels = (attempt.name, attempt.queue)
    publisher = "client" if number == 0 else f"child of {life.attempts[number - 1].worker}"
    published = next(clock)
    identity: dict[str, Any] = {"name": attempt.name, "retries": attempt.retries}
    identity["parent_id"] = life.uuid if number else None
    yield Told(publisher, sent(life.uuid, published, queue=attempt.queue, **identity), (("sent", *labels),))
    if attempt.ending == "revoked":
        event = task(
            "revoked", life.uuid, next(clock), worker=attempt.worker, terminated=False, expired=False
        )
        yield Told(
            attempt.worker, event, (("revoked revoked", *labels),), (life.uuid, number, attempt.worker)
        )
        return

    def start(worker: str) -> Iterable[Told]:
        fetched = next(clock)
        event = received(life.uuid, fetched, worker=worker, **identity)
        yield Told(worker, event, (("received", *labels),))
        started = next(clock)
        waits = {"queue_wait": float(started - published), "prefetch_wait": float(started - fetched)}
        yield Told(
            worker, task("started", life.uuid, started, worker=worker), (("started", *labels),), waits=waits
        )

    for delivery in range(attempt.delivered):
        yield from start(attempt.worker)
        if delivery < attempt.delivered - 1:
            event = task("rejected", life.uuid, next(clock), worker=attempt.worker, requeue=True)
            yield Told(attempt.worker, event, (("rejected true", *labels),))
    for worker in attempt.also:
        yield from start(worker)
    kinds = ("retried",) if attempt.ending == "retried" else ENDINGS[attempt.ending]
    for kind in kinds:
        yield _outcome(life.uuid, number, attempt, attempt.worker, kind, next(clock))
    for worker in attempt.also:
        yield _outcome(life.uuid, number, attempt, worker, "succeeded", next(clock))


def _outcome(uuid: str, number: int, attempt: Attempt, worker: str, kind: str, at: int) -> Told:
    labels = (attempt.name, attempt.queue)
    if kind == "rejected":
        event = task(kind, uuid, at, worker=worker, requeue=False)
        return Told(worker, event, (("rejected false", *labels),))
    more: dict[str, Any] = {"runtime": 1.0} if kind == "succeeded" else {}
    counter = kind
    if kind == "revoked":
        more, counter = {"terminated": True}, "revoked terminated"
    event = task(kind, uuid, at, worker=worker, **more)
    return Told(worker, event, ((counter, *labels),), (uuid, number, worker))


def expected_counts(told: Iterable[Told]) -> Counter[tuple[str, str, str]]:
    """The slow and obvious model: what these events, all of them known at once, say for the counters."""
    counts: Counter[tuple[str, str, str]] = Counter()
    ended = set()
    for one in told:
        if one.outcome_of is not None:
            if one.outcome_of in ended:
                continue
            ended.add(one.outcome_of)
        counts.update(one.counts)
    return counts


# Made once: to make a strategy costs many times as much as to draw from it.
_up_to = cache(partial(st.integers, 0))
_one_of = cache(st.sampled_from)


@st.composite
def lives(draw: st.DrawFn, *, most: int = 6) -> list[Life]:
    """Up to ``most`` tasks with up to three attempts each, some of them replaced by another task."""

    def attempt(name: str, retries: int, ending: str) -> Attempt:
        queue = draw(_one_of(("fast", "slow")))
        worker = draw(_one_of(("w@h", "x@h")))
        delivered = 1 if ending == "hard time limit" else 1 + draw(_up_to(1))
        # Each has workers of its own: two outcomes on one cannot be told apart when their starts are missing.
        also = tuple(
            f"{name}{retries}{letter}@h"
            for letter in draw(_one_of(("", "", "y", "yz" if not retries else "y")))
        )
        return Attempt(name, queue, retries, worker, delivered, ending, also if ending in SPREAD else ())

    made = []
    for number in range(1 + draw(_up_to(most - 1))):
        name = draw(_one_of("abc"))
        attempts = [attempt(name, retries, "retried") for retries in range(draw(_up_to(2)))]
        # Which attempt two outcomes belong to cannot be told when starts of several are missing.
        endings = sorted(ENDINGS.keys() - ({"hard time limit"} if attempts else set()))
        attempts.append(attempt(name, len(attempts), draw(_one_of(tuple(endings)))))
        if attempts[-1].ending == "ignored" and draw(_up_to(1)):  # Task.replace
            attempts.append(attempt("replacement", 0, "succeeded"))
        made.append(Life(f"uuid-{number}", tuple(attempts)))
    return made


@st.composite
def arrivals(draw: st.DrawFn, told: list[Told], *, repeat: bool) -> list[Told]:
    """An order in which these can arrive: each sender's in its order, the senders' mixed, some of them again later."""
    streams: dict[str, list[Told]] = {}
    for one in told:
        streams.setdefault(one.sender, []).append(one)
    order: list[Told] = []
    while streams:
        blocked = {id(one) for stream in streams.values() for one in stream}
        ready = [sender for sender in sorted(streams) if id(streams[sender][0].after) not in blocked]
        sender = ready[draw(_up_to(len(ready) - 1))]
        order.append(streams[sender].pop(0))
        if not streams[sender]:
            del streams[sender]
        if repeat and draw(_up_to(4)) == 0:
            order.append(order[draw(_up_to(len(order) - 1))])
    return order
