"""Which queues are known and shown."""

import logging

import pytest

from celery_metrics_exporter.labels import SeriesLimit
from celery_metrics_exporter.queues.internal import is_internal
from celery_metrics_exporter.queues.known import CANDIDATE_SAMPLES, RETENTION_SECONDS, KnownQueues
from tests.pipeline import FakeTime


def known(
    *,
    configured: tuple[str, ...] = (),
    candidates: tuple[str, ...] = (),
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    limit: SeriesLimit | None = None,
    time: FakeTime | None = None,
    learns: bool = True,
) -> KnownQueues:
    """A registry of queues."""
    return KnownQueues(
        (time or FakeTime()).clock(),
        configured=configured,
        candidates=candidates,
        include=include,
        exclude=exclude,
        is_internal=is_internal,
        limit=limit or SeriesLimit(100),
        learns=learns,
    )


def test_a_queue_stays_known_for_a_while() -> None:
    """Every mention keeps it for an hour more; the configured ones stay for ever."""
    time = FakeTime()
    queues = known(configured=("always",), time=time)
    queues.note(["seen"])
    time.elapsed = RETENTION_SECONDS - 1
    queues.note(["seen", "always"])
    time.elapsed += RETENTION_SECONDS - 1
    queues.sweep()
    assert set(queues.names()) == {"always", "seen"}
    time.elapsed += 2
    queues.sweep()
    assert queues.names() == ("always",)


def test_candidates_are_looked_for_but_not_known() -> None:
    """The default queue is asked for, and shown only once somebody has seen it."""
    queues = known(candidates=("celery",))
    assert (queues.names(), queues.wanted()) == ((), ("celery",))
    queues.found(["celery"])
    assert (queues.names(), queues.wanted()) == (("celery",), ("celery",))


def test_candidates_are_not_looked_for_for_ever() -> None:
    """RabbitMQ logs an error for each queue that is asked for in vain; other signs of it may still come."""
    queues = known(candidates=("celery",))
    for _ in range(CANDIDATE_SAMPLES):
        assert queues.wanted() == ("celery",)
        queues.found([])
    assert queues.wanted() == ()
    queues.note(["celery"])
    assert queues.wanted() == ("celery",)


@pytest.mark.parametrize(
    "name",
    [
        "celeryev",
        "celeryev.8c2",
        "w@h.celery.pidbox",
        "reply.celery.pidbox",
        "celery_delayed_4",
        "",
    ],
)
def test_names_that_are_never_shown(name: str) -> None:
    """Celery's own queues, and what is no name."""
    queues = known()
    queues.note([name])
    assert queues.names() == ()


def test_patterns() -> None:
    """Of several include patterns one must fit, of the exclude patterns none; --queue is not concerned."""
    queues = known(configured=("tmp-wanted",), include=("mail*", "tmp-*"), exclude=("*-[0-9]", "tmp-*"))
    queues.note(["mail", "mail.fast", "mail-1", "other", "tmp-x", "tmp-wanted"])
    assert set(queues.names()) == {"tmp-wanted", "mail", "mail.fast"}


def test_the_number_of_queues_is_bounded() -> None:
    """What is known stays, what is beyond the limit is counted."""
    limit = SeriesLimit(2)
    queues = known(limit=limit)
    queues.note(["a", "b", "c", "a"])
    assert queues.names() == ("a", "b")
    assert limit.overflows == {"celery_queue": 1}


def test_queues_of_one_process_each_are_known_together() -> None:
    """Under their label, which takes the room of one queue; only names are asked for."""
    own = [f"bcast.{number:08x}-d9cb-469f-a165-70867728950e" for number in range(300)]
    limit = SeriesLimit(2)
    queues = known(configured=("tenant.0f8fad5b-d9cb-469f-a165-70867728950e",), limit=limit)
    queues.note([*own, "q", "*.dq2"])
    assert queues.names() == ("tenant.*", "bcast.*")
    assert own[7] in queues
    assert queues.wanted() == ("tenant.0f8fad5b-d9cb-469f-a165-70867728950e",)
    assert limit.overflows == {"celery_queue": 2}


@pytest.mark.parametrize("configured", [True, False])
def test_names_that_are_no_labels(*, configured: bool) -> None:
    """They are shown under their clean label, asked for as they are, and forgotten with it; their number is bounded."""
    odd = ("a\tb", "a\nb", "x" * 300)
    time = FakeTime()
    queues = known(configured=odd if configured else (), limit=SeriesLimit(4), time=time)
    queues.note([*odd, "a\N{REPLACEMENT CHARACTER}b", "a\x7fb", "a\x7fb"])
    assert queues.names() == ("a\N{REPLACEMENT CHARACTER}b", "x" * 200)
    assert set(queues.wanted()) == {*odd, "a\N{REPLACEMENT CHARACTER}b"}
    time.elapsed = RETENTION_SECONDS + 1
    queues.sweep()
    assert queues.wanted() == (odd if configured else ())
    assert len(queues.names()) == (2 if configured else 0)


@pytest.mark.parametrize("pattern", ["bcast.*", "bcast.0f8*", "*.dq2", "w@h.*"])
def test_patterns_fit_names_and_labels(pattern: str) -> None:
    """Whoever leaves out queues of one process each may write the one or the other."""
    names = ("bcast.0f8fad5b-d9cb-469f-a165-70867728950e", "w@h.dq2")
    assert sum(map(known(include=(pattern,)).accepts, names)) == 1
    assert sum(map(known(exclude=(pattern,)).accepts, names)) == 1


def test_without_events_the_default_queue_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing else will name it: it is asked for until it is there, and one line says how to name others."""
    queues = known(candidates=("celery",), learns=False)
    with caplog.at_level(logging.WARNING):
        for _ in range(CANDIDATE_SAMPLES * 3):
            queues.found([], missing=["celery"])
    assert [record.message for record in caplog.records] == [
        "no queue is known: name the queues by --queue, or their application by --app"
    ]
    assert queues.wanted() == ("celery",)
    queues.found(["celery"])
    assert queues.names() == ("celery",)


def test_without_events_named_queues_are_enough() -> None:
    """Who names queues is asked for no other for long."""
    queues = known(configured=("a",), candidates=("celery",), learns=False)
    for _ in range(CANDIDATE_SAMPLES):
        queues.found([])
    assert queues.wanted() == ("a",)


def test_a_missing_queue_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each that is known, and another one when it was there in between; none for a candidate."""
    queues = known(configured=("a", "b"), candidates=("celery",))
    with caplog.at_level(logging.WARNING):
        for missing in (["celery", "b"], ["b"], [], ["a", "b"]):
            queues.found([], missing=missing)
    assert [
        (record.message.partition(",")[0], record.__dict__["fields"]["queue"]) for record in caplog.records
    ] == [("the broker has no such queue", name) for name in ("b", "a", "b")]
