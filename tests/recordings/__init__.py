"""Events of real workers of several Celery versions, with what is true of them; made by ``record.py``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.recordings.scenario import expected
from tests.recordings.truth import Label, Truth

__all__ = ["VERSIONS", "Label", "Recording", "Truth", "load", "path"]

VERSIONS = ("5.3", "5.4", "5.5", "5.6", "5.7")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What came over the event exchange while the workload of ``scenario.py`` ran on one Celery version."""

    version: str
    meta: Mapping[str, str]
    """Exact versions, by name: python, celery, kombu, billiard, redis."""
    bodies: tuple[bytes, ...]
    """Message bodies in order of arrival, byte for byte: JSON objects, and lists of them."""
    ended: float
    """Epoch seconds of its last event."""
    expected: Mapping[Label, Truth]
    """(task, queue) -> what the exporter must have counted in the end."""


def path(version: str) -> Path:
    """The file of a recording."""
    return Path(__file__).parent / f"{version}.jsonl"


def load(version: str) -> Recording:
    """Read the recording of a Celery version, one of ``VERSIONS``."""
    head, *messages = path(version).read_text().splitlines()
    bodies = tuple(json.loads(line)["body"].encode() for line in messages)
    contents = [json.loads(body) for body in bodies]
    events = [
        event for content in contents for event in (content if isinstance(content, list) else [content])
    ]
    return Recording(
        version=version,
        meta=json.loads(head)["meta"],
        bodies=bodies,
        ended=max(event["timestamp"] for event in events),
        expected=expected(version),
    )
