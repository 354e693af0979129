"""One fault, from a healthy exporter over the fault to a healthy exporter, with all that has to hold meanwhile."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tests.integration.faults.front import Front
from tests.integration.faults.stream import QUEUE, RATE, WORKER, Stream
from tests.integration.faults.watch import BROKER_UP, CONNECTED, Watch
from tests.integration.servers import ExporterProcess
from tests.integration.servers.exporter import COMMAND
from tests.waiting import wait_for

RECONNECTS: Final = "celery_exporter_receiver_reconnects_total"
DEAF: Final = "celery_exporter_receiver_disconnected_seconds_total"
LOST: Final = "celery_worker_lost_total"

#: The contract: events flow again so soon after the end of a fault, and a half-open link is found so soon.
RECOVERY_S: Final = 30.0
#: What a busy machine may add.
_SLACK_S: Final = 2.0
#: What scrapes ten times a second, and their duration, may be wrong about a gap.
_BLUR_S: Final = 1.5
_START_S: Final = 40.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a trial takes place.

    Attributes:
        settings: Celery's, with which events are sent; never through the front.
        url: of the broker, for the exporter.
        server, front: what the fault works on.
        secret: what the exporter may show nowhere.
        arguments, command: how the exporter is started.
        hosts: the file that the exporter reads names of hosts from, if that is its own.
    """

    settings: Mapping[str, Any]
    url: str
    server: Any
    front: Front
    secret: str = "known-to-nobody"
    arguments: Sequence[str] = ()
    command: Sequence[str] = COMMAND
    hosts: Path = Path("/etc/hosts")


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault is done to: a stage with a running exporter on it, and who watches that."""

    stage: Stage
    exporter: ExporterProcess
    watch: Watch


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to a stage, and what an exporter must make of it.

    Attributes:
        inject: a context manager; entering it begins the fault, leaving it ends it.
        says: words of ``/-/ready`` in between; none: the subscription is not lost at all.
        seconds: how long the fault lasts after its loss is found, if there is one.
        silent: nobody sends events during the fault.
        mute: the exporter hears nothing from the beginning of the fault on.
        broker_down: ``celery_broker_up`` has to be 0 in between; None: it may.
        lossless: every event of the fault's time is counted in the end.
    """

    inject: Callable[[Scene], AbstractContextManager[None]]
    says: tuple[str, ...] = ()
    seconds: float = 0.0
    silent: bool = False
    mute: bool = False
    broker_down: bool | None = None
    lossless: bool = False

    @property
    def cuts(self) -> bool:
        """Whether the subscription is lost."""
        return bool(self.says)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds: from the beginning of the fault to its discovery, from its end to the next event, and not connected."""

    found: float
    recovered: float
    deaf: float


def run_trial(fault: Fault, stage: Stage, folder: Path) -> Outcome:
    """Do it. Raises AssertionError if anything is not as it must be."""
    arguments = ("--broker-url", stage.url, "--sample-interval", "0.5s", *stage.arguments)
    exporter = ExporterProcess(folder, arguments, command=stage.command)
    with exporter, Stream(stage.settings) as stream, Watch(exporter) as watch:
        trial = _Trial(fault, Scene(stage, exporter, watch), stream)
        trial.send("before")
        found, recovered = trial.fail()
        trial.send("after")
        return Outcome(found, recovered, trial.conclude())


class _Trial:
    def __init__(self, fault: Fault, scene: Scene, stream: Stream) -> None:
        self._fault = fault
        self._scene = scene
        self._exporter = scene.exporter
        self._watch = scene.watch
        self._stream = stream
        self._deaf_before = 0.0
        self._gap_before = 0.0
        self._mute_s = 0.0  # before the exporter said that it was not connected

    def send(self, phase: str) -> None:
        """Let a second's events flow; each of them must be counted, once."""
        self._wait(
            lambda: self._watch.value(CONNECTED) and self._watch.value(BROKER_UP), _START_S, "the broker"
        )
        self._stream.enter(phase)
        self._wait(lambda: self._stream.sent[phase] >= RATE, _START_S, f"events {phase} the fault")
        self._stream.pause()
        sent = self._stream.sent[phase]
        self._wait(lambda: self._counted(phase) >= sent, _START_S, f"{sent} events {phase} the fault")
        assert self._counted(phase) == sent, self._found()

    def fail(self) -> tuple[float, float]:
        """Begin the fault and end it, until events flow again; returns how long it took to find it and to recover."""
        fault, watch, stream = self._fault, self._watch, self._stream
        self._deaf_before, self._gap_before = watch.value(DEAF), watch.gap
        downs = watch.broker_downs
        stream.enter("during")
        if fault.silent:
            stream.pause()
        began = time.monotonic()
        with fault.inject(self._scene):
            if fault.cuts:
                self._wait(self._lost, RECOVERY_S + _SLACK_S, "a lost subscription")
            else:
                began = (
                    time.monotonic()
                )  # nothing is to be found; how long it takes to inject is not our matter
            found = time.monotonic()
            if fault.mute:
                self._mute_s = found - began
            self._wait(lambda: time.monotonic() > found + fault.seconds, fault.seconds + 5, "the end")
            if fault.broker_down:
                self._wait(lambda: watch.broker_downs > downs, RECOVERY_S, f"{BROKER_UP} 0")
        ended = time.monotonic()
        stream.enter("recovering")
        self._wait(lambda: self._counted("recovering"), RECOVERY_S + _SLACK_S, "events")
        recovered = time.monotonic() - ended
        if fault.lossless:
            lasting = stream.sent["during"]
            assert not stream.unsure["during"], f"{stream.unsure} could not be sent"
            self._wait(lambda: self._counted("during") >= lasting, _START_S, f"{lasting} late events")
        stream.pause()
        return found - began, recovered

    def conclude(self) -> float:
        """Check what is told in the end; returns the seconds without a subscription."""
        watch, fault = self._watch, self._fault
        log = self._exporter.stderr
        assert not watch.problems, watch.problems
        assert self._counted("during") <= self._stream.unsure["during"] + self._stream.sent["during"]
        assert watch.value(RECONNECTS) == float(fault.cuts), self._found()
        gap = watch.gap - self._gap_before + self._mute_s
        deaf = watch.value(DEAF) - self._deaf_before
        assert abs(deaf - gap) < _BLUR_S, f"{deaf:.1f} s told, {gap:.1f} s seen"
        assert fault.cuts or not deaf, self._found()
        assert not watch.value(LOST)
        assert watch.value(f'celery_worker_up{{worker="{WORKER}"}}') == 1
        assert fault.broker_down is not False or not watch.broker_downs, self._found()
        assert watch.value(BROKER_UP) == 1
        told = [
            line.partition("error=")[2]
            for line in log.splitlines()
            if "cannot receive events, trying again" in line
        ]
        assert bool(told) == fault.cuts, log
        assert len(told) <= 3, told  # the loss, and what the broker is like while it comes back
        assert all(one != other for one, other in pairwise(told)), told
        assert log.count('msg="receiving events"') == 1 + fault.cuts, log
        assert "Traceback" not in log, log
        said = "\n".join(watch.reasons)
        assert all(word in said for word in fault.says), said
        secret = self._scene.stage.secret
        assert secret not in log + said + self._exporter.text()
        return deaf

    def _lost(self) -> bool:
        # A gap of half a second may fall between two scrapes of a busy machine.
        return self._watch.gap > self._gap_before or self._watch.value(RECONNECTS) > 0

    def _counted(self, phase: str) -> float:
        return self._watch.value(f'celery_task_sent_total{{queue="{QUEUE}",task="{phase}"}}')

    def _wait(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        def held_or_failed() -> object:
            assert not self._watch.problems, f"{self._watch.problems}; {self._found()}"
            return condition()

        wait_for(held_or_failed, timeout=timeout, what=lambda: f"{what}: {self._found()}")

    def _found(self) -> str:
        told = ("celery_task_sent_total", "celery_exporter_receiver", "celery_broker_up", "celery_worker_up")
        samples = {name: value for name, value in self._watch.latest.items() if name.startswith(told)}
        return f"sent {self._stream.sent}, unsure {self._stream.unsure}; {samples}; {self._exporter.process.describe()}"
