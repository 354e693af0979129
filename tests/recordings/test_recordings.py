"""Real events of five Celery versions give just the counts that their workload is known to have."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.pipeline import Bench
from tests.recordings import VERSIONS, Label, Truth, load

COUNTERS = ("sent", "received", "started", "succeeded", "failed", "retried")


def counted(bench: Bench) -> dict[Label, Truth]:
    """What the exporter serves, in the form of the truth."""
    fields: dict[Label, dict[str, Any]] = {}
    for family in bench.pipeline.registry.collect():
        for sample in family.samples:
            if {"task", "queue"} <= sample.labels.keys() and sample.value:
                truth = fields.setdefault((sample.labels["task"], sample.labels["queue"]), {})
                enter(truth, sample.name.removeprefix("celery_task_"), sample.labels, int(sample.value))
    return {label: Truth(**truth) for label, truth in fields.items() if truth}


def enter(truth: dict[str, Any], name: str, labels: dict[str, str], value: int) -> None:
    """Put one sample where the truth has it."""
    if name.removesuffix("_total") in COUNTERS:
        truth[name.removesuffix("_total")] = value
    elif name == "queue_wait_seconds_count":
        truth["queue_waits"] = value
    elif name == "prefetch_wait_seconds_count":
        truth["prefetch_waits"] = value
    elif name == "rejected_total":
        truth.setdefault("rejected", Counter())[labels["requeue"]] = value
    elif name == "revoked_total":
        truth.setdefault("revoked", Counter())[labels["reason"]] = value
    elif name == "exceptions_total":
        truth.setdefault("exceptions", Counter())[labels["exception"], labels["outcome"]] = value
    elif name == "runtime_seconds_count":
        truth.setdefault("runtimes", Counter())[labels["outcome"]] = value


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_workload_is_counted_exactly(version: str) -> None:
    """Every counter and histogram count of every (task, queue) equals what the workload was built to give."""
    recording = load(version)
    bench = Bench(start=recording.ended)
    for body in recording.bodies:
        bench.pipeline.dispatcher.feed(body)
    bench.wait(3)
    assert counted(bench) == dict(recording.expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_workload_loses_nothing(version: str) -> None:
    """No real event of any version is dropped, each type is known, and the versions are told right."""
    recording = load(version)
    bench = Bench(start=recording.ended)
    for body in recording.bodies:
        bench.pipeline.dispatcher.feed(body)
    dropped = bench.samples("celery_exporter_events_dropped_total")
    assert set(dropped.values()) == {0.0}
    infos = [
        name
        for name in bench.samples("celery_worker_info")
        if f'version="{recording.meta["celery"]}"' in name
    ]
    assert len(infos) >= 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_workload_twice(version: str) -> None:
    """Every message delivered a second time at the end changes no counter of tasks."""
    recording = load(version)
    bench = Bench(start=recording.ended)
    for body in (*recording.bodies, *recording.bodies):
        bench.pipeline.dispatcher.feed(body)
    bench.wait(3)
    assert counted(bench) == dict(recording.expected)
