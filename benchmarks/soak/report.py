"""What a soak says: a row every half minute, and the page with the verdict.

Owns: the words. Must not know: how figures are made.
"""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from benchmarks.soak.readings import MEGABYTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.soak.readings import Finding, Reading

_HEAD: Final = (
    "s",
    "events counted",
    "of those delivered",
    "in gaps",
    "RSS MB",
    "threads",
    "files",
    "keys",
    "CPU µs/event",
    "lag ms",
    "series",
    "scrape ms",
    "tasks",
    "evicted",
    "workers up / seen",
    "answers",
    "reconnects",
)
_PAGE: Final = """\
# {minutes:.0f} minutes of a busy cluster

Made by `{command}` on {date}: {versions}; CPython {python}, {cores} cores shared with other work.

{events:,.0f} events a second for {seconds:.0f} s against the real exporter (`{arguments}`). Workers
come and go under new names like pods, {names:,} of them, half of them without a goodbye, with whatever they were doing.
Of 200 tasks some fail with a traceback, are retried, wait for an eta, are delivered twice, are told late, or never end;
queues appear and vanish. The page is scraped every five seconds, queues are sampled, and workers answer questions
({answers:,} answers). Every {cut:.0f} s publishing pauses until all is counted, and all connections of the exporter are
cut. CPU is all that the process uses: events, scrapes, samples, answers. "In gaps" are events for which nobody was
subscribed.

{table}

{verdict}
"""


def header() -> str:
    """The first lines of the table."""
    return f"| {' | '.join(_HEAD)} |\n|{' ---: |' * len(_HEAD)}"


def row(now: Reading, before: Reading | None) -> str:
    """A line of the table; CPU and lag are those since the reading before."""
    events = now.counted - (before.counted if before else 0)
    cpu = now.cpu - (before.cpu if before else 0.0)
    lag = now.lag - (before.lag if before else 0.0)
    cells = (
        f"{now.at:.0f}",
        f"{now.counted:,}",
        f"{now.delivered:,}",
        f"{now.sent - now.delivered:,}",
        f"{now.rss / MEGABYTE:.1f}",
        f"{now.threads}",
        f"{now.files}",
        f"{now.leftovers}",
        f"{1e6 * cpu / max(1, events):.1f}",
        f"{1e3 * lag / max(1, events):.0f}",
        f"{now.series:,}",
        f"{1e3 * now.scrape:.0f}",
        f"{now.in_flight:,}",
        f"{now.evicted:,}",
        f"{now.workers} / {now.names:,}",
        f"{now.answers:,}",
        f"{now.reconnects}",
    )
    return f"| {' | '.join(cells)} |"


def verdict(findings: Sequence[Finding]) -> str:
    """What held and what did not."""
    return "\n".join(f"- {'good' if finding.good else '**BAD**'}: {finding.text}" for finding in findings)


def page(
    rows: Sequence[str],
    last: Reading,
    findings: Sequence[Finding],
    *,
    cut: float,
    command: str,
    arguments: str,
    broker: str,
) -> str:
    """All of it."""
    libraries = ("celery", "kombu", "redis", "hiredis", "amqp", "msgspec", "prometheus-client")
    return _PAGE.format(
        minutes=last.at / 60,
        cut=cut,
        command=command,
        date=datetime.now(UTC).date(),
        versions=", ".join([broker, *(f"{name} {version(name)}" for name in libraries)]),
        python=platform.python_version(),
        cores=os.cpu_count(),
        events=last.sent / max(last.at, 1.0),
        seconds=last.at,
        arguments=arguments,
        names=last.names,
        answers=last.answers,
        table="\n".join([header(), *rows]),
        verdict=verdict(findings),
    )
