"""Runs a soak: a broker, the exporter and a publisher as processes, a reading every five seconds, a verdict."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.child import ChildProcess
from benchmarks.events.consumers import LIBRARIES, OURS
from benchmarks.metrics import counted
from benchmarks.peers import versions
from benchmarks.render import section, shown
from benchmarks.results import Result, Table, write
from benchmarks.soak.brokers import amqp_broker, redis_broker
from benchmarks.soak.pods import QUEUES, passing_queues
from benchmarks.soak.readings import COLUMNS, Reading, Shutdown, judge
from benchmarks.soak.watch import take_reading
from tests.integration.servers import ExporterProcess, why_missing
from tests.waiting import wait_for

if TYPE_CHECKING:
    from benchmarks.soak.brokers import Broker

_BROKERS: Final = {"valkey": redis_broker, "rabbitmq": amqp_broker}
_READING_SECONDS: Final = 5.0
_ROW_SECONDS: Final = 30.0
_SETTLE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.5
#: So small that tasks are evicted, workers are lost and forgotten all the time.
_SETTINGS: Final = ("--max-in-flight", "50000", "--worker-timeout", "10s", "--worker-retention", "60s")
#: On a machine that is busy otherwise the exporter may lag: neither broker is to throw away what it has yet to read.
_PATIENCE: Final = {"valkey": (), "rabbitmq": ("--event-queue-ttl", "10m")}


class Soak:
    """One run."""

    def __init__(self, broker: Broker, exporter: ExporterProcess, publisher: ChildProcess) -> None:
        self._broker = broker
        self._exporter = exporter
        self._publisher = publisher
        self._began = time.monotonic()
        self.readings: list[Reading] = []
        self.rows: list[list[float]] = []

    def run(self, seconds: float, cut_seconds: float) -> None:
        """Publish for so long; the last reading is made when all is counted."""
        self._publisher.request("publish")
        print(" | ".join(COLUMNS), flush=True)
        last_row: Reading | None = None
        next_cut = cut_seconds
        for number in range(1, max(2, int(seconds / _READING_SECONDS)) + 1):
            at = number * _READING_SECONDS
            self._broker.set_queues((*QUEUES, *passing_queues(at)))
            time.sleep(max(0.0, self._began + at - time.monotonic()))
            if at >= next_cut and at < seconds:
                next_cut += cut_seconds
                self._cut_connections()
            reading = self._read()
            if number % round(_ROW_SECONDS / _READING_SECONDS) == 0:
                self._print(reading, last_row)
                last_row = reading
        self._pause()
        last = self._read()
        self._print(last, last_row)

    def end(self) -> Shutdown:
        """Stop the exporter."""
        began = time.monotonic()
        code = self._exporter.process.stop()
        seconds = time.monotonic() - began
        tracebacks = self._exporter.stderr.count("Traceback")
        return Shutdown(
            code=code, seconds=seconds, leftovers=self._broker.permanent_leftovers(), tracebacks=tracebacks
        )

    def _cut_connections(self) -> None:
        self._pause()
        self._broker.cut()
        if self._broker.holds:
            wait_for(
                lambda: not self._broker.subscribed(), timeout=_SETTLE_SECONDS, what="a lost subscription"
            )
            wait_for(self._broker.subscribed, timeout=_SETTLE_SECONDS, what="a subscription made anew")
        self._publisher.request("publish")

    def _pause(self) -> None:
        """Stop publishing, and wait until everything is counted, or will never be."""
        published = self._publisher.request("pause")
        deadline = time.monotonic() + _SETTLE_SECONDS
        while counted(self._exporter.url) < published["delivered"] and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    def _read(self) -> Reading:
        at = time.monotonic() - self._began
        exporter, publisher = self._exporter, self._publisher
        reading = take_reading(
            at, exporter.pid, exporter.url, self._broker, lambda: publisher.request("report")
        )
        self.readings.append(reading)
        return reading

    def _print(self, reading: Reading, before: Reading | None) -> None:
        self.rows.append(reading.row(before))
        print(" | ".join(map(shown, self.rows[-1], COLUMNS.values())), flush=True)


def _paces(arguments: argparse.Namespace) -> list[str]:
    """The options of the publisher, see :mod:`benchmarks.soak.publisher`."""
    return [f"--{name}={getattr(arguments, name)}" for name in ("rate", "pods", "life")]


def main() -> int:
    """Run it; the exit code is 1 when something grew, was lost, or went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--broker", choices=_BROKERS, default="valkey")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=5000.0, help="events a second")
    parser.add_argument("--pods", type=int, default=200, help="workers at a time")
    parser.add_argument("--life", type=float, default=120.0, help="seconds that a worker lives")
    parser.add_argument("--cut", type=float, default=60.0, help="seconds between two cuts of the connections")
    parser.add_argument("--output", type=Path, help="write the result as JSON to this folder")
    arguments = parser.parse_args()
    reason = why_missing(arguments.broker)
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="celery-exporter-soak-") as folder,
        _BROKERS[arguments.broker](Path(folder) / "broker") as broker,
        ChildProcess.started("benchmarks.soak.publisher", broker.url, *_paces(arguments)) as publisher,
    ):
        publisher.request("report")
        broker.remember_publisher()
        settings = ["--broker-url", broker.url, *_SETTINGS, *_PATIENCE[arguments.broker]]
        exporter = ExporterProcess(Path(folder) / "exporter", settings)
        try:
            exporter.start()
            wait_for(broker.subscribed, timeout=_SETTLE_SECONDS, what="a subscription")
            soak = Soak(broker, exporter, publisher)
            soak.run(arguments.seconds, arguments.cut)
            shutdown = soak.end()
        except BaseException:
            print(exporter.process.describe(), file=sys.stderr)
            raise
        finally:
            exporter.kill()
    findings = judge(soak.readings, shutdown)
    last = soak.readings[-1]
    result = Result(
        facts={
            "broker": broker.version,
            "settings of the exporter": " ".join(settings[2:]),
            "seconds": round(last.at),
            "events/s": last.sent / max(last.at, 1.0),
            "workers that came and went": last.names,
            "replies of workers to the exporter": last.replies,
            "seconds between two cuts": arguments.cut,
        },
        tables=[
            Table(
                {"held": "", "what": ""}, [["yes" if each.good else "**no**", each.text] for each in findings]
            ),
            Table(COLUMNS, soak.rows),
        ],
        versions={OURS: versions(sys.executable, *LIBRARIES, "msgspec", "prometheus-client")},
        command=" ".join(["python -m benchmarks.soak", *sys.argv[1:]]),
    )
    print(section(result))
    if arguments.output:
        write(arguments.output, "soak", result)
    return int(not all(finding.good for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
