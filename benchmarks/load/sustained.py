"""How many events a second the exporter sustains on one core, with the broker's limits for slow readers at defaults."""

import math
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.child import ChildProcess
from benchmarks.load.cores import pin
from benchmarks.load.rig import Rig, counted, start_rig
from benchmarks.results import Result, Table, Value
from benchmarks.settings import Settings
from benchmarks.usage import cpu_seconds
from tests.waiting import wait_for

#: Offered one after the other, in events a second, until one is too many.
RATES: Final = tuple(range(20_000, 110_000, 10_000))
#: Of valkey.conf, for pub/sub: who has so much to read for a minute is cut off, and who has 32 MB at once.
SOFT_LIMIT_BYTES: Final = 8 * 1024 * 1024
#: A generator that is later than this did not offer what it should.
_LATE_SECONDS: Final = 0.5
#: How often a rate is tried: what else runs on the machine may spoil a try.
_TRIES: Final = 2
_TASKS: Final = 20_000
_LIMIT_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.25
_MEGABYTE: Final = 1e6
_COLUMNS: Final = {
    "offered, events/s": ",",
    "for s": ".0f",
    "published": ",",
    "counted": ",",
    "exporter's core, % busy": ".0f",
    "CPU µs/event": ".1f",
    "waiting in Valkey, MB at most": ".1f",
    "in the end": ".1f",
    "connections lost": ",",
    "sustained": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What became of one rate.

    Attributes:
        rate: events a second that were offered.
        published: events.
        counted: of them, by the exporter.
        seconds: of publishing.
        late: seconds that the generator was behind its rate at the worst.
        cpu: seconds of the exporter's process meanwhile.
        waiting: bytes that the broker held for the exporter, at the most.
        left: those when the last event had been published.
        lost: connections that ended.
    """

    rate: int
    published: int
    counted: int
    seconds: float
    late: float
    cpu: float
    waiting: int
    left: int
    lost: int

    @property
    def offered(self) -> bool:
        """Whether the generator could keep the rate."""
        return self.late <= _LATE_SECONDS

    @property
    def sustained(self) -> bool:
        """Nothing was lost, nobody was cut off, and it could have gone on like this."""
        return (
            self.offered and self.counted == self.published and not self.lost and self.left < SOFT_LIMIT_BYTES
        )

    def row(self) -> list[Value]:
        """Its figures; a rate that was not sustained has no cost."""
        return [
            self.rate,
            self.seconds,
            self.published,
            self.counted,
            self.cpu / self.seconds * 100,
            self.cpu / self.counted * 1e6 if self.sustained else "",
            self.waiting / _MEGABYTE,
            self.left / _MEGABYTE,
            self.lost,
            ("yes" if self.sustained else "no") if self.offered else f"not offered, {self.late:.1f} s late",
        ]


def highest(offers: Sequence[Offer]) -> int:
    """The highest rate that was sustained, as were all below it; 0 if none was."""
    sustained = {offer.rate for offer in offers if offer.sustained}
    too_high = min({offer.rate for offer in offers} - sustained, default=math.inf)
    return max((rate for rate in sustained if rate < too_high), default=0)


def measure(list_size: int, settings: Settings) -> Result:
    """Offer one rate after the other, each to a fresh exporter."""
    offers: list[Offer] = []
    with (
        tempfile.TemporaryDirectory(prefix="celery-exporter-bench-") as folder,
        start_rig(Path(folder), f"--tasks={_TASKS}", f"--list-size={list_size}") as rig,
    ):
        limit = _limit(rig)
        print(f"lists of {list_size}: up to {limit:,.0f} events a second can be offered", file=sys.stderr)
        for rate in settings.rates or RATES:
            for _ in range(_TRIES):
                offers.append(_offer(rig, rate, settings.seconds))
                print(f"lists of {list_size}: {offers[-1]}", file=sys.stderr)
                if offers[-1].sustained:
                    break
            else:
                break
    return result(rig.version, limit, offers)


def result(broker: str, limit: float, offers: Sequence[Offer]) -> Result:
    """The figures of all offers, of which the generator could not have made more than ``limit`` a second."""
    return Result(
        facts={
            "broker": broker,
            "highest rate sustained, events/s": highest(offers),
            "the generator's own limit, events/s": round(limit),
        },
        tables=[Table(_COLUMNS, [offer.row() for offer in offers])],
    )


def _limit(rig: Rig) -> float:
    with ChildProcess.started("benchmarks.load.sink", rig.server.url) as sink:
        pin(sink.pid, rig.core)
        wait_for(rig.subscribers, timeout=10.0, what="a subscription")
        done = rig.generator.request(0, _LIMIT_SECONDS)
    return float(done["events"] / done["seconds"])


def _offer(rig: Rig, rate: int, seconds: float) -> Offer:
    with rig.exporter() as exporter:
        cut_off, used = rig.cut_off(), cpu_seconds(exporter.pid)
        with _watched(rig) as waiting:
            done = rig.generator.request(rate, seconds)
            left = rig.waiting_bytes()
        cpu = cpu_seconds(exporter.pid) - used
        published = int(done["events"])
        return Offer(
            rate=rate,
            published=published,
            counted=counted(exporter, published),
            seconds=done["seconds"],
            late=done["late"],
            cpu=cpu,
            waiting=max([*waiting, left]),
            left=left,
            lost=rig.lost(exporter, cut_off),
        )


@contextmanager
def _watched(rig: Rig) -> Iterator[list[int]]:
    """Look at what the broker holds, now and then, until the context ends."""
    over, found = threading.Event(), list[int]()

    def look() -> None:
        while not over.wait(_LOOK_SECONDS):
            found.append(rig.waiting_bytes())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()
