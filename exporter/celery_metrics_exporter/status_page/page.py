"""The whole page, from what was seen.

Owns: what stands where. Nothing on it comes from elsewhere: style and script stand in it, the icon is data.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from celery_metrics_exporter import __version__
from celery_metrics_exporter.status_page import in_worker, without_events
from celery_metrics_exporter.status_page.findings import Finding, Level, count
from celery_metrics_exporter.status_page.missing import find_missing
from celery_metrics_exporter.status_page.snapshot import Snapshot, Stream
from celery_metrics_exporter.status_page.tables import (
    busiest_table,
    failing_table,
    queues_table,
    running_table,
    why_unread,
    workers_table,
)
from celery_metrics_exporter.status_page.wording import (
    UNKNOWN,
    age,
    ago,
    duration,
    foreign,
    number,
    ours,
    rate,
    share,
    stamp,
    within,
)

#: Seconds after which a page without JavaScript loads anew; the script asks more often (page.js).
RELOAD_SECONDS: Final = 5
#: Beyond the last bound of the lag histogram.
LONGEST_LAG: Final = 300.0
#: Name, value, what stands below it, and a chart.
_Tile = tuple[str, str, str, str]
#: Width and height of the little chart, in units of its own.
_CHART: Final = (120, 24)

_ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E"
    "%3Ccircle cx='4' cy='4' r='3.5' fill='%23{}'/%3E%3C/svg%3E"
)
_COLOURS: Final = {Level.FAILED: "d1242f", Level.WARNING: "bf8700", Level.OK: "1a7f37"}


def page(seen: Snapshot, health: tuple[bool, str], *, style: str, script: str, telemetry_path: str) -> str:
    """HTML of the page.

    Args:
        seen: what to show.
        health: whether this process works, and why not.
        style: the style sheet.
        script: what keeps the page up to date.
        telemetry_path: where the metrics are.
    """
    missing = find_missing(seen)
    found = {finding.key for finding in missing}
    level, verdict = _verdict(seen, health)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{verdict} · celery-exporter</title>
<link rel="icon" href="{_ICON.format(_COLOURS[level])}">
<noscript><meta http-equiv="refresh" content="{RELOAD_SECONDS}"></noscript>
<style>{style}</style>
</head>
<body>
<header>
<h1>celery-exporter <small>{html.escape(__version__)}</small></h1>
<p>{foreign(seen.broker_name)}</p>
<button type="button" id="pause" hidden>Pause</button>
</header>
<p id="stale" role="status" hidden></p>
<main id="live">
{_banner(seen, health, level, verdict)}
{_tiles(seen, found)}
{_missing(missing)}
{_tables(seen, found)}
<p class="as-of">As of {stamp(seen.now)}; running for {duration(round(seen.now - seen.since))}.</p>
</main>
<footer>
<a href="./{html.escape(quote(telemetry_path[1:]))}">{html.escape(telemetry_path)}</a> for Prometheus
<a href="./-/healthy">/-/healthy</a> whether this process works
<a href="./-/ready">/-/ready</a> whether {"events flow" if seen.config.events else "queues are read"}
</footer>
<script>{script}</script>
</body>
</html>
"""


def _tables(seen: Snapshot, found: set[str]) -> str:
    if not seen.config.events:
        return queues_table(seen, found)
    now = f'<div class="pair">\n{queues_table(seen, found)}\n{running_table(seen)}\n</div>'
    if seen.in_worker:  # which does not know what waits
        now = running_table(seen)
    return f"""{now}
{busiest_table(seen, found)}
{failing_table(seen)}
{workers_table(seen, found)}"""


def _verdict(seen: Snapshot, health: tuple[bool, str]) -> tuple[Level, str]:
    """How bad it is, and in a few words what it is."""
    if not health[0]:
        return Level.FAILED, "Broken"
    if seen.in_worker or not seen.config.events:
        return in_worker.verdict(seen) if seen.in_worker else without_events.verdict(seen)
    if not seen.subscription.connected:
        return Level.FAILED, "Not connected"
    if seen.subscription.fault is not None:
        return Level.FAILED, "Nothing arrives"
    if seen.subscription.standby:
        return Level.OK, "On standby"
    unsure = seen.subscription.delivering is None and seen.stream.last is None
    return (Level.WARNING, "Connected, no event yet") if unsure else (Level.OK, "Receiving events")


def _banner(seen: Snapshot, health: tuple[bool, str], level: Level, verdict: str) -> str:
    subscription = seen.subscription
    heard = subscription.connected and subscription.fault is None
    lasting = duration(round(subscription.lasting))
    if not seen.config.events:
        lines = ["without events: only the lengths of queues are known"]
        if seen.broker.error is not None:
            lines.append(f"<q>{foreign(seen.broker.error)}</q>")
        return _shown(lines, health, level, verdict)
    lines = [f"for {lasting}" if heard or seen.in_worker else f"no events for {lasting}"]
    lines[0] += f", since {stamp(seen.now - subscription.lasting)}"
    if subscription.reconnects:
        lines.append(count(subscription.reconnects, "reconnect"))
    if subscription.past_error is not None and not seen.in_worker:
        before = duration(round(subscription.past_error_age))
        lines.append(f"last error {before} ago: <q>{foreign(subscription.past_error)}</q>")
    return _shown(lines, health, level, verdict)


def _shown(lines: list[str], health: tuple[bool, str], level: Level, verdict: str) -> str:
    if not health[0]:
        lines.insert(1, f"this process does not work: {foreign(health[1])}")
    return (
        f'<div class="banner {level}"><p class="verdict" role="status" aria-live="polite">{verdict}</p>'
        f"<p>{' · '.join(lines)}</p></div>"
    )


def _tiles(seen: Snapshot, found: set[str]) -> str:
    stream, workers, tasks, queues = seen.stream, seen.workers, seen.tasks, seen.queues
    oldest = tasks.running.rows[0].started if tasks.running.rows else None
    states = [
        f'<a class="{kind}" href="#missing-{key}">{number(amount)} {word}</a>'
        for key, amount, word, kind in (
            ("lost", workers.lost.total, "lost", "bad"),
            ("events-off", workers.silent.total, "events off", "warn"),
        )
        if amount
    ]
    if workers.offline:
        states.append(f"{number(workers.offline)} offline")
    waiting = number(queues.waiting, why_unread(found))
    in_queues: _Tile = ("Messages waiting", waiting, f"in {count(queues.shown.total, 'queue')}", "")
    if not seen.config.events:
        answers = UNKNOWN if seen.broker.round_trip is None else duration(seen.broker.round_trip)
        return _as_list((in_queues, ("Broker answers in", answers, "in the latest sample", "")))
    tiles: tuple[_Tile, ...] = (
        ("Events per second", rate(stream.rate), f"{number(stream.total)} in all", _chart(stream)),
        ("Last event", ago(stream.last, seen.now), "by our clock", ""),
        ("Event lag", within(stream.lag, LONGEST_LAG), "for 95 %, lately", ""),
        ("Workers up", number(workers.up), ", ".join(states) or "none lost", ""),
        in_queues,
        (
            "Tasks running",
            number(tasks.running.total),
            _longest(oldest, seen.now),
            "",
        ),
        (
            "Failures",
            share(tasks.recent_failures, tasks.recent_ends),
            f"{number(tasks.recent_failures)} of {number(tasks.recent_ends)} lately",
            "",
        ),
    )
    if seen.in_worker:
        tiles = tuple(tile for tile in tiles if tile[0] not in in_worker.OF_LISTENERS)
    return _as_list(tiles)


def _as_list(tiles: Sequence[_Tile]) -> str:
    return (
        '<dl class="tiles">'
        + "\n".join(
            f'<div><dt>{name}</dt><dd>{value}</dd><dd class="aside">{aside}</dd>{chart}</div>'
            for name, value, aside, chart in tiles
        )
        + "</dl>"
    )


def _longest(started: float | None, now: float) -> str:
    if started is None:
        return "none"
    return f"longest for {age(started, now)}" if now - started >= 1 else "just begun"


def _chart(stream: Stream) -> str:
    """The rate of the last minutes as a line; what it says stands beside it in numbers."""
    rates = stream.rates
    if len(rates) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    width, height = _CHART
    top = max(rates) or 1.0
    if not math.isfinite(top):
        return ""
    step = width / (len(rates) - 1)
    points = " ".join(
        f"{n * step:.1f},{height - 1 - (height - 2) * each / top:.1f}" for n, each in enumerate(rates)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{points}"/></svg>'
    )


def _missing(missing: Sequence[Finding]) -> str:
    head = '<section class="missing" aria-labelledby="missing"><header><h2 id="missing">What is missing</h2>'
    if not missing:
        return f"{head}<p>Nothing: every source of metrics is available.</p></header></section>"
    head += "</header>"
    return f"{head}<ul>{''.join(map(_finding, missing))}</ul></section>"


def _finding(finding: Finding) -> str:
    names = ""
    if finding.names.total:
        more = f" and {number(finding.names.more)} more" if finding.names.more else ""
        names = f'<p class="names">{", ".join(map(foreign, finding.names.rows))}{more}</p>'
    command = f"<p><code>{foreign(finding.command)}</code></p>" if finding.command else ""
    told = "" if finding.quote is None else f"<p><q>{foreign(finding.quote)}</q></p>"
    return (
        f'<li id="missing-{finding.key}" class="{finding.level}"><h3><span class="level">{finding.level}</span> '
        f"{ours(finding.title)}</h3>{names}{told}<p>{ours(finding.remedy)}</p>{command}</li>\n"
    )
