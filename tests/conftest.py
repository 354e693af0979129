"""Settings of the whole test run, the marker ``needs``, and the count of what a missing backend kept from running."""

import gc
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis.strategies import none

from tests.integration.servers import require

#: The files that take longest, the longest first: one that comes last would keep a single process busy in the end.
#: `--durations` tells how long; an order that is no longer quite true costs seconds only.
_LONGEST: Final = (
    "test_properties.py",
    "integration/faults/test_matrix.py",
    "alerts/test_rules.py",
    "helm/test_matrix.py",
    "grafana/test_drawn.py",
    "integration/test_celery_command.py",
    "integration/truth/test_in_worker.py",
    "integration/truth/test_truth.py",
    "integration/test_in_worker.py",
    "integration/test_in_worker_process.py",
    "exposition/test_text.py",
    "integration/test_queues.py",
    "integration/test_deaf.py",
    "integration/test_doctor_workers.py",
    "receivers/test_bodies.py",
    "integration/test_readers_redis_faults.py",
    "cli/test_main.py",
    "browser/test_live.py",
    "integration/test_transports_tls.py",
    "integration/test_event_queue_messages.py",
    "integration/test_stop.py",
    "test_bounds.py",
    "demo/test_demo.py",
    "integration/test_app_tasks.py",
    "integration/test_app_option.py",
    "integration/test_dashboards.py",
    "helm/test_running.py",
    "integration/test_transports_redis.py",
    "test_hostile.py",
)

# Examples may take long on a busy machine; a hang is what the tests' own timeout finds.
# In CI the examples are the same in every run; elsewhere each run tries others.
settings.register_profile("patient", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("patient")

# A shell starts background jobs with SIGINT ignored; the processes of tests would inherit that and outlive Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; `make test` gives them to its processes in this order."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Keep what was imported out of every later collection of garbage: it stays to the end, and there is much of it."""
    # Hypothesis takes its own source of random numbers into its list with its first example. On Python 3.14 it warns of
    # one to which nothing refers, and what is frozen is not found to refer to it.
    given(none())(lambda _: None)()
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Obey the marker ``needs`` before any fixture starts a server."""
    for marker in item.iter_markers("needs"):
        require(*marker.args)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count at the end of the run, one line for each missing backend, the tests that it kept from running."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        # A skip's longrepr is (file, line, "Skipped: reason"); tests/integration/servers/requirements.py words it.
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if " is missing: " in reason:
            counts[reason] += 1
    for reason, count in sorted(counts.items()):
        terminalreporter.write_line(f"{count} test{'s'[: count > 1]} skipped because {reason}")
