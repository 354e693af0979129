"""A slow, plain count of recorded events to check a recording with; shares no code with the exporter.

It reads a whole recording at once, so that nothing is out of order for it and each task's queue is known.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from tests.recordings.truth import Label, Truth

_TERMINAL = ("task-succeeded", "task-failed", "task-revoked")
_COUNTED = (*_TERMINAL, "task-sent", "task-received", "task-started", "task-retried", "task-rejected")


def tally(bodies: Iterable[bytes]) -> Mapping[Label, Truth]:
    """Count the events in these bodies by (task, queue), by the rules in ``truth.py``."""
    lives: defaultdict[str, dict[tuple[str, float], dict[str, Any]]] = defaultdict(dict)
    for body in bodies:
        decoded = json.loads(body)
        for event in decoded if isinstance(decoded, list) else [decoded]:
            if event["type"] in _COUNTED:  # an exact duplicate finds its place taken
                lives[event["uuid"]].setdefault((event["type"], event["timestamp"]), event)
    total: defaultdict[Label, Truth] = defaultdict(Truth)
    for life in lives.values():
        for label, truth in _count(sorted(life.values(), key=lambda event: float(event["timestamp"]))):
            total[label] += truth
    return dict(total)


def disagreements(truth: Mapping[Label, Truth], count: Mapping[Label, Truth]) -> list[str]:
    """One line for each number in which the truth and the count differ."""
    return [
        f"{label}: {f.name} should be {wanted}, the events say {found}"
        for label in sorted(truth.keys() | count.keys())
        for f in fields(Truth)
        if (wanted := getattr(truth.get(label, Truth()), f.name))
        != (found := getattr(count.get(label, Truth()), f.name))
    ]


def _count(life: list[dict[str, Any]]) -> Iterator[tuple[Label, Truth]]:
    queues = {event["name"]: event["queue"] for event in life if event["type"] == "task-sent"}
    received = {event["name"] for event in life if event["type"] == "task-received"}
    current = next((event["name"] for event in life if "name" in event), "unknown")
    running, ended = 0, False
    for event in life:
        name = event.get("name", current)
        label = (name, queues.get(name, "unknown"))
        match event["type"]:
            case "task-sent":
                yield label, Truth(sent=1)
            case "task-received":
                current = name
                yield label, Truth(received=1)
            case "task-started":
                running, ended = running + 1, False
                yield (
                    label,
                    Truth(started=1, queue_waits=int(name in queues), prefetch_waits=int(name in received)),
                )
            case "task-rejected":
                yield label, Truth(rejected=Counter({json.dumps(event["requeue"]): 1}))
                running -= running > 0 and not ended
            case event_type if not (ended and event_type in _TERMINAL):
                yield label, _ending(event, was_running=running > 0)
                running -= running > 0
                ended = event_type in _TERMINAL


def _ending(event: dict[str, Any], *, was_running: bool) -> Truth:
    match event["type"]:
        case "task-revoked":
            reason = "terminated" if event["terminated"] else "expired" if event["expired"] else "revoked"
            return Truth(revoked=Counter({reason: 1}))
        case "task-succeeded":
            return Truth(succeeded=1, runtimes=Counter(succeeded=int(event["runtime"] is not None)))
        case "task-failed":
            exceptions = Counter({(_exception_class(event), "failed"): 1})
            return Truth(failed=1, exceptions=exceptions, runtimes=Counter(failed=int(was_running)))
        case _:
            exceptions = Counter({(_exception_class(event), "retried"): 1})
            return Truth(retried=1, exceptions=exceptions, runtimes=Counter(retried=int(was_running)))


def _exception_class(event: dict[str, Any]) -> str:
    # a pool that does not fork shows the Retry itself: Retry(Retry(...), ConnectionError('no answer'), 0)
    shown = re.match(r"(?:Retry\(Retry\(\.\.\.\), )?([A-Za-z_]\w*)\(", event["exception"])
    if shown and shown[1] != "ExceptionWithTraceback":
        return shown[1]
    last_line: str = event["traceback"].strip().splitlines()[-1]
    return last_line.strip('"').partition(":")[0].rpartition(".")[2]
