"""Steps of the recorded workload that need a choreography, each with what it makes true of (task, queue)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from tests.recordings.processes import PREFORK
from tests.recordings.stage import Stage
from tests.recordings.truth import RECEIVED, RUN, SENT, SUCCEEDED, Label, Truth, revoked


@dataclass(frozen=True, slots=True)
class Act:
    """One step and its truth, which is the same for every recorded version."""

    play: Callable[[Stage], None]
    truth: Mapping[Label, Truth]


def revoke_reserved(stage: Stage) -> None:
    """Revoke a task that waits in a worker whose two processes are busy."""
    holders = stage.send("recorded.hold", "orders", "reserved", times=2)
    for task_id in holders:
        stage.wait_event("task-started", task_id)
    [victim] = stage.send("recorded.add", "orders", 1, 1)
    stage.wait_event("task-received", victim)
    stage.revoke(victim, PREFORK)
    for _ in holders:
        stage.open("reserved")
    for task_id in holders:
        stage.wait_event("task-succeeded", task_id)
    stage.wait_event("task-revoked", victim)


def revoke_unseen(stage: Stage) -> None:
    """Revoke an id before its task is published: it is never received."""
    victim = str(uuid4())
    stage.revoke(victim, PREFORK)
    stage.send("recorded.add", "emails", 1, 1, task_id=victim)
    stage.wait_event("task-revoked", victim)


def terminate(stage: Stage) -> None:
    """Kill the process that runs a task."""
    [victim] = stage.send("recorded.nap", "emails", 60)
    stage.wait_event("task-started", victim)
    stage.revoke(victim, PREFORK, terminate=True, signal="SIGTERM")
    stage.wait_event("task-revoked", victim)


def replace(stage: Stage) -> None:
    """Let a task go on as another one under the same id on another queue: the first has no outcome."""
    [task_id] = stage.send("recorded.replaced", "orders", "replaced", "reports")
    stage.wait_event("task-started", task_id)
    stage.open("replaced")
    stage.wait_event("task-succeeded", task_id)


def canvas(stage: Stage) -> None:
    """Run a group, and a chord whose body is published by the worker that ends its header."""
    for task_id in stage.send_group([1, 2], "reports"):
        stage.wait_event("task-succeeded", task_id)
    stage.wait_event("task-succeeded", stage.send_chord([1, 2, 3], "emails", "reports"))


ACTS: tuple[Act, ...] = (
    Act(
        revoke_reserved,
        {
            ("recorded.hold", "orders"): (RUN + SUCCEEDED) * 2,
            ("recorded.add", "orders"): SENT + RECEIVED + revoked("revoked"),
        },
    ),
    Act(revoke_unseen, {("recorded.add", "emails"): SENT + revoked("revoked")}),
    Act(terminate, {("recorded.nap", "emails"): RUN + revoked("terminated")}),
    Act(replace, {("recorded.replaced", "orders"): RUN, ("recorded.add", "reports"): RUN + SUCCEEDED}),
    Act(
        canvas,
        {
            ("recorded.add", "reports"): (RUN + SUCCEEDED) * 2,
            ("recorded.add", "emails"): (RUN + SUCCEEDED) * 3,
            ("recorded.total", "reports"): RUN + SUCCEEDED,
        },
    ),
)
