"""When which command is due, and when all answers have come; time is a number that the test sets."""

import threading
import time

from celery_metrics_exporter.control.commands import CommandSchedule, Tickets

EVERYTHING = ["heartbeat", "enable_events", "stats", "active_queues"]


class Time:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


def _schedule(time: Time, *, enable_events: bool = True, inspect: bool = True) -> CommandSchedule:
    return CommandSchedule(time, interval=30.0, enable_events=enable_events, inspect=inspect)


def _settled(tickets: Tickets) -> bool:
    return tickets.settled


def test_one_question_an_interval_in_turn() -> None:
    """The regular inspection asks one question each interval: about pools and about queues in turn."""
    time = Time()
    schedule = _schedule(time)
    asked = []
    for _ in range(130):
        time.now += 1.0
        asked += [(time.now, command) for command in schedule.take()]
    assert asked == [(1030, "stats"), (1060, "active_queues"), (1090, "stats"), (1120, "active_queues")]


def test_wake() -> None:
    """Everything is asked at once, once, and the regular inspection starts anew."""
    time = Time()
    schedule = _schedule(time)
    time.now += 29.0
    schedule.wake()
    assert schedule.pause() == 0.0
    assert schedule.take() == EVERYTHING
    assert schedule.take() == []
    time.now += 29.0
    assert schedule.take() == []
    time.now += 1.0
    assert schedule.take() == ["stats"]


def test_what_is_switched_off_is_never_asked() -> None:
    """Neither a wake nor a request asks for what the user does not want."""
    time = Time()
    for schedule, wanted in (
        (_schedule(time, enable_events=False, inspect=False), ["heartbeat"]),
        (_schedule(time, enable_events=False), ["heartbeat", "stats", "active_queues"]),
        (_schedule(time, inspect=False), ["heartbeat", "enable_events"]),
    ):
        schedule.wake()
        schedule.request_events()
        schedule.request_inspection()
        assert schedule.take() == wanted
        schedule.request_events()
        schedule.request_inspection()
        time.now += 20.0
        assert schedule.take() == wanted[1:]
    time.now += 1000.0
    assert schedule.take() == []
    assert schedule.pause() == 30.0


def test_task_events_are_turned_on_every_second_at_most() -> None:
    """The first request is served at once, those that follow are served together."""
    time = Time()
    schedule = _schedule(time)
    schedule.request_events()
    assert schedule.take() == ["enable_events"]
    for _ in range(9):
        time.now += 0.1
        schedule.request_events()
        assert schedule.take() == []
    schedule.wake()
    assert schedule.take() == ["heartbeat", "stats", "active_queues"]
    time.now += 0.1
    assert schedule.pause() == 0.0
    assert schedule.take() == ["enable_events"]
    time.now += 1.0
    assert schedule.take() == []


def test_workers_that_start_together_are_asked_together() -> None:
    """The first new worker is asked about after a second; a hundred of them within 30 s cost seven inspections."""
    time = Time()
    schedule = _schedule(time)
    schedule.wake()
    schedule.take()
    asked = []
    for _ in range(100):
        schedule.request_inspection()
        time.now += 0.29
        if commands := schedule.take():
            assert commands == ["stats", "active_queues"]
            asked.append(time.now)
    assert len(asked) <= 7
    time.now += 5.0
    schedule.take()
    time.now += 10.0
    schedule.request_inspection()
    assert schedule.pause() == 1.0


def test_after_a_failure() -> None:
    """Nothing is asked during the pause, then what was left and what was requested meanwhile; a wake ends it."""
    time = Time()
    schedule = _schedule(time)
    schedule.wake()
    assert schedule.take() == EVERYTHING
    schedule.postpone(["stats", "active_queues"], 4.0)
    schedule.request_events()
    assert schedule.take() == []
    assert schedule.pause() == 4.0
    time.now += 4.0
    assert schedule.take() == EVERYTHING[1:]
    schedule.postpone(["stats"], 30.0)
    schedule.wake()
    assert schedule.take() == ["heartbeat", "stats", "active_queues"]


def test_all_have_answered() -> None:
    """Questions are settled once as many answers came as there were takers."""
    tickets = Tickets()
    first, second = tickets.issue("stats"), tickets.issue("active_queues")
    tickets.expect(first, 2)
    tickets.expect(second, 1)
    assert not _settled(tickets)
    assert [tickets.redeem(first), tickets.redeem(second)] == ["stats", "active_queues"]
    assert _settled(tickets)  # who answered the second has answered the first, and the other one is gone
    tickets.expect(tickets.issue("stats"), 0)
    assert _settled(tickets)


def test_a_later_answer_does_not_settle_what_others_owe() -> None:
    """A worker that answers again leaves open what another one has yet to answer."""
    tickets = Tickets()
    first, second = tickets.issue("stats"), tickets.issue("active_queues")
    tickets.expect(first, 2)
    tickets.expect(second, 2)
    tickets.redeem(first)
    tickets.redeem(second)
    assert not _settled(tickets)
    tickets.redeem(first)
    tickets.redeem(second)
    assert _settled(tickets)


def _waits_for_one(tickets: Tickets) -> bool:
    return tickets.missing_of_one


def test_a_question_to_one_worker() -> None:
    """Its answer tells nothing of questions to all; once all have answered a later one, it is waited for no more."""
    tickets = Tickets()
    everybody, one = tickets.issue("stats"), tickets.issue("active")
    tickets.expect(everybody, 2)
    tickets.expect(one, 1, of_one=True)
    assert _waits_for_one(tickets)
    tickets.redeem(one)
    assert not _waits_for_one(tickets)
    assert not _settled(tickets)
    tickets.redeem(everybody)
    tickets.redeem(everybody)
    assert _settled(tickets)
    silent, later = tickets.issue("active"), tickets.issue("stats")
    tickets.expect(silent, 1, of_one=True)
    tickets.expect(later, 1)
    tickets.redeem(later)
    assert _settled(tickets)
    assert not _waits_for_one(tickets)


def test_tickets_that_we_did_not_issue() -> None:
    """Whatever anybody writes on a ticket, it belongs to no question."""
    tickets = Tickets()
    tickets.issue("stats")
    forged = ["", "stats", "1", "1.", "1.ping", "1.registered", "2.stats", "0.stats", "-1.stats", "1.stats.x"]
    for ticket in [*forged, "9" * 5000 + ".stats", "\N{SUPERSCRIPT ONE}.stats"]:
        assert tickets.redeem(ticket) is None
    assert tickets.redeem("1.stats") == "stats"


def test_questions_that_nobody_answers() -> None:
    """They are kept count of in bounded memory, and never taken for settled."""
    tickets = Tickets()
    for _ in range(1500):
        tickets.expect(tickets.issue("stats"), 3)
    assert not _settled(tickets)
    assert len(tickets._missing) == 1000


class Told:
    """Is told nothing in these tests."""

    def published(self) -> None:
        """Do nothing."""

    def refused(self) -> None:
        """Do nothing."""

    def failed(self) -> None:
        """Do nothing."""


def test_a_request_ends_a_wait() -> None:
    """Whatever is requested, and a nudge, is noticed at once; afterwards a wait lasts again."""
    schedule = _schedule(Time())
    requests = (
        schedule.wake,
        schedule.request_events,
        schedule.request_inspection,
        lambda: schedule.request_probe(Told(), anew=False),
        schedule.nudge,
    )
    for request in requests:
        waiting = threading.Thread(target=schedule.wait, args=(30.0,))
        waiting.start()
        request()
        waiting.join(5.0)
        assert not waiting.is_alive()
        schedule.take()
    began = time.monotonic()
    schedule.wait(0.05)
    assert time.monotonic() - began >= 0.05


def test_a_probe_is_taken_once() -> None:
    """The latest request for a probe is handed out, once."""
    schedule, told = _schedule(Time()), Told()
    assert schedule.take_probe() is None
    schedule.request_probe(Told(), anew=False)
    schedule.request_probe(told, anew=True)
    assert schedule.take_probe() == (told, True)
    assert schedule.take_probe() is None
