"""Lets doctor examine a broker, and takes what it says apart."""

import io
import json
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.doctor import run_doctor

#: Seconds of listening: heartbeats, answers and our own event come at once when they come.
WAIT_S = 0.6

_PATIENCE_S = 20.0

#: Checks that nothing needs on a broker of this kind.
NOT_APPLICABLE = {
    "redis": {"sentinel", "event_queue"},
    "amqp": {"sentinel", "buffers"},
}


@dataclass(frozen=True, slots=True)
class Examination:
    """What doctor said: its exit code and the document."""

    code: int
    document: dict[str, Any]

    def __getitem__(self, check: str) -> dict[str, Any]:
        """The finding of one check."""
        (found,) = [each for each in self.document["checks"] if each["id"] == check]
        return dict(found)

    def status(self, check: str) -> str:
        """Its state."""
        return str(self[check]["status"])

    @property
    def troubles(self) -> dict[str, str]:
        """The state of each check that warns or fails."""
        return {
            each["id"]: each["status"]
            for each in self.document["checks"]
            if each["status"] in ("warning", "failed")
        }

    @property
    def skipped(self) -> set[str]:
        """The checks that were not made."""
        return {each["id"] for each in self.document["checks"] if each["status"] == "skipped"}

    def only_failure(self, check: str, *words: str) -> dict[str, Any]:
        """Assert that this check alone failed, in these words, with a remedy, and that the exit code says so."""
        assert self.code == 1, self.document
        assert self.troubles == {check: "failed"}, self.document
        return self.says(check, "failed", *words)

    def says(self, check: str, status: str, *words: str) -> dict[str, Any]:
        """Assert a check's state and words of its message, and that a trouble comes with a remedy."""
        found = self[check]
        assert found["status"] == status, self.document
        assert all(word in found["message"] for word in words), found
        if status in ("warning", "failed"):
            assert found["remedy"], found
        return found


def examine(
    url: str,
    *,
    wait: float = WAIT_S,
    timeout: float = 5.0,
    until: Callable[[Examination], bool] = lambda _: True,
    **settings: Any,
) -> Examination:
    """Run doctor in this process; ``settings`` are those of Config.

    Again and again ``until`` what it finds is as it should be, or time is up: how fast workers are is not our matter.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        out = io.StringIO()
        with redirect_stdout(out):
            config = Config(broker_url=url, **settings)
            code = run_doctor(config, as_json=True, wait=wait, colour=False, timeout=timeout)
        found = Examination(code, json.loads(out.getvalue()))
        if until(found) or time.monotonic() > deadline:
            return found


def shows(check: str, status: str) -> Callable[[Examination], bool]:
    """Whether a check has this state, for ``until``."""
    return lambda found: found.status(check) == status
