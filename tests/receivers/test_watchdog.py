"""A receiver that is stuck is given up and replaced; too many of them end it all."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from celery_metrics_exporter.receivers import Link, Sink
from celery_metrics_exporter.receivers.receiver import Receiver
from celery_metrics_exporter.receivers.watchdog import Watchdog
from tests.integration.receiving import Received
from tests.waiting import wait_for

WAIT_S = 5.0
PATIENCE_S = 0.3


@dataclass(slots=True)
class Stuck:
    """A subscription that feeds one body, and hangs where it is told to until it is let go.

    Attributes:
        where: ``open``, ``poll`` or ``close``; anything else: nowhere.
        cutting: whether a cut lets it go.
        failing: it raises there instead.
    """

    sink: Sink
    where: str = ""
    cutting: bool = False
    failing: bool = False
    go_on: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    standby: bool = False
    _fed: bool = False

    def open(self) -> None:
        """Connect."""
        self._pass("open")

    def poll(self) -> None:
        """Feed once, then wait a moment as if nothing came."""
        self._pass("poll")
        if not self._fed:
            self._fed = True
            self.sink.feed(self.where.encode())
            self.sink.drop("invalid", self.where)
        self.left.wait(0.01)

    def close(self, *, clean: bool) -> None:
        """Leave."""
        self._pass("close")
        self.left.set()

    def cut(self) -> None:
        """Be let go, or fail to."""
        if not self.cutting:
            raise OSError("no socket")
        self.go_on.set()

    def _pass(self, where: str) -> None:
        if where == self.where:
            self.entered.set()
            assert self.go_on.wait(WAIT_S)
            if self.cutting:
                raise OSError("cut")
        if self.failing and where == "open":
            raise OSError("refused")


@dataclass(slots=True)
class Stage:
    """A watchdog in a thread, whose receivers get these subscriptions, and healthy ones after that."""

    script: list[str]
    cutting: bool = False
    failing: bool = False
    received: Received = field(default_factory=Received)
    made: list[Stuck] = field(default_factory=list)
    restarts: int = 0
    watchdog: Watchdog = field(init=False)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.watchdog = Watchdog(
            "the-broker",
            self.received,
            self.received,
            self._receiver,
            on_restart=self._count,
            patience=PATIENCE_S,
            max_stuck=3,
        )
        self.thread = threading.Thread(target=self.watchdog.run, daemon=True)

    def _receiver(self, sink: Sink, link: Link) -> Receiver:
        def subscribe() -> Stuck:
            where = self.script.pop(0) if self.script else ""
            self.made.append(Stuck(sink, where, cutting=self.cutting, failing=self.failing))
            return self.made[-1]

        return Receiver("the-broker", link, subscribe)

    def _count(self) -> None:
        self.restarts += 1


@contextmanager
def running(script: list[str], *, cutting: bool = False, failing: bool = False) -> Iterator[Stage]:
    """Run it; at the end everybody is let go, and all must end."""
    stage = Stage(script, cutting=cutting, failing=failing)
    stage.thread.start()
    try:
        yield stage
    finally:
        stage.watchdog.stop()
        for each in stage.made:
            each.go_on.set()
        stage.thread.join(WAIT_S)
        assert not stage.thread.is_alive()


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect at once."""
    monkeypatch.setattr("celery_metrics_exporter.receivers.receiver.BACKOFF_SECONDS", (0.01, 0.02))


def _wait(condition: Callable[[], object], stage: Stage) -> None:
    wait_for(condition, timeout=WAIT_S, what=lambda: f"{stage}")


def _hanging() -> int:
    return sum(thread.name == "receiving" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("where", "name"), [("open", "connecting"), ("poll", "receiving"), ("close", "leaving")]
)
def test_a_stuck_receiver_is_replaced(where: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever it hangs, another takes its place; when it wakes up it feeds nothing, tells nothing, and ends."""
    with running([where]) as stage:
        if where == "close":
            _wait(lambda: stage.received.bodies, stage)
            stage.watchdog.renew("to see it leave")
        _wait(lambda: stage.made and stage.made[0].entered.is_set(), stage)
        stage.received.bodies.clear()
        stage.received.drops.clear()
        _wait(lambda: stage.received.bodies, stage)
        stage.received.wait_up()
        assert stage.received.errors[-1] == f"receiver stuck in {name} for {PATIENCE_S:g} s"
        assert stage.restarts == 1
        (record,) = [each for each in caplog.records if each.name.endswith("watchdog")]
        assert record.getMessage() == "the receiver is stuck, starting another receiver"
        told = str(vars(record)["fields"])
        assert f"stuck in {name}" in told
        assert "_pass" in told  # where it hangs
        before = (list(stage.received.bodies), list(stage.received.drops), list(stage.received.errors))
        old = stage.made[0]
        old.go_on.set()
        assert old.left.wait(WAIT_S)
        _wait(lambda: _hanging() == 1, stage)
        assert (stage.received.bodies, stage.received.drops, stage.received.errors) == before
        assert stage.received.connected
    assert not stage.watchdog.gave_up


def test_too_many_hang(caplog: pytest.LogCaptureFixture) -> None:
    """When as many hang as it may have, it gives up by itself and says so once."""
    with running(["open"] * 9) as stage:
        stage.thread.join(WAIT_S)
        assert not stage.thread.is_alive()
        assert stage.watchdog.gave_up
        assert len(stage.made) == 3
        assert stage.restarts == 2
        assert not stage.received.connected
        (record,) = [each for each in caplog.records if each.levelno == logging.CRITICAL]
        assert record.getMessage() == "every receiver gets stuck, giving up: the process ends, restart it"


def test_slow_is_not_stuck() -> None:
    """A receiver whose wait ends after all, be it because its socket was shut, counts for nothing."""
    with running(["open"] * 6, cutting=True) as stage:
        stage.received.wait_up()
        assert stage.restarts == 6
        assert not stage.watchdog.gave_up


def test_a_time_of_health_between_makes_up_for_it() -> None:
    """Receivers that hang for ever are no reason to give up as long as each successor does well for a while."""
    with running(["poll", "", "poll", "", "poll"]) as stage:
        for number in range(3):
            _wait(lambda number=number: stage.restarts == number + 1, stage)  # type: ignore[misc]  # mypy: bound early
            stage.received.wait_up()
            if number < 2:
                _wait(lambda: not stage.watchdog._hanging, stage)
                stage.watchdog.renew("on to the next")
        assert not stage.watchdog.gave_up


def test_an_outage_is_not_stuck() -> None:
    """However often a broker refuses, and whatever the pauses between, the receiver stays the same."""
    with running([], failing=True) as stage:
        _wait(lambda: len(stage.made) > 50, stage)
        assert stage.restarts == 0
        assert set(stage.received.errors) == {"OSError: refused"}


def test_a_long_pause_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that waits to try again has nothing to move."""
    monkeypatch.setattr(
        "celery_metrics_exporter.receivers.receiver.BACKOFF_SECONDS", (4 * PATIENCE_S, 4 * PATIENCE_S)
    )
    with running([], failing=True) as stage:
        _wait(lambda: len(stage.made) == 2, stage)
        assert stage.restarts == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_receiver_that_ends(caplog: pytest.LogCaptureFixture) -> None:
    """A library that ends the thread costs the receiver, not the process, unless that goes on and on."""

    def make(_sink: Sink, _link: Link) -> Receiver:
        def subscribe() -> Stuck:
            raise SystemExit

        return Receiver("the-broker", received, subscribe)

    received = Received()
    restarts: list[int] = []
    watchdog = Watchdog(
        "the-broker", received, received, make, on_restart=lambda: restarts.append(1), patience=0.1
    )
    watchdog.run()
    assert watchdog.gave_up
    assert len(restarts) == 4
    assert received.errors == ["receiver ended by itself"] * 5


def test_a_stop_waits_for_the_farewell() -> None:
    """A stop lets the receiver leave in good order, and tell so."""
    with running([]) as stage:
        stage.received.wait_up()
    assert stage.made[-1].left.is_set()
    assert stage.received.errors == ["stopped"]


def test_a_stop_that_is_obeyed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that ends between the check of the stop and that of its thread did not end by itself."""
    received = Received()

    class Quick(Receiver):
        def still(self) -> str | None:
            watchdog.stop()
            wait_for(
                lambda: "receiving" not in {thread.name for thread in threading.enumerate()},
                timeout=WAIT_S,
                what="the end of the receiver",
            )
            return None

    watchdog = Watchdog(
        "the-broker",
        received,
        received,
        lambda sink, link: Quick("the-broker", link, lambda: Stuck(sink)),
        on_restart=lambda: None,
        patience=PATIENCE_S,
    )
    watchdog.run()
    assert received.errors == ["stopped"]
    assert "stuck" not in caplog.text
