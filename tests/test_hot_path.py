"""What an ordinary task may cost, counted in calls of Python functions: time would tell of the machine."""

import json
import sys
from types import FrameType

from tests.pipeline import Bench, received, sent, task

TASKS = 10
#: A task: one task-sent alone, then three events in a list. At some 50 ns a call this is a fifth of what it costs.
MAX_CALLS = 32


def calls(bench: Bench, bodies: list[bytes]) -> list[str]:
    """The functions that are called while these bodies are handled, which came together."""
    seen: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            seen.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        bench.pipeline.dispatcher.feed_all(bodies)
    finally:
        sys.setprofile(None)
    return seen


def ordinary(uuid: str) -> list[bytes]:
    """The bodies of a task that succeeds."""
    worker = [
        received(uuid),
        task("started", uuid),
        task("succeeded", uuid, at=3, runtime=0.5),
    ]
    return [json.dumps(sent(uuid)).encode(), json.dumps(worker).encode()]


def test_calls_of_an_ordinary_task() -> None:
    """Nobody adds calls to the way of every event without a look at this number."""
    bench = Bench()
    bench.pipeline.dispatcher.feed_all(ordinary("first"))  # what is made once is made
    found = calls(bench, [body for n in range(TASKS) for body in ordinary(f"u{n}")])
    assert bench.value("celery_task_succeeded_total", task="t", queue="q") == 1 + TASKS
    assert len(found) / TASKS <= MAX_CALLS, "\n".join(found)
