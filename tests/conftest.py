"""Settings of the whole test run, the marker ``needs``, and the count of what a missing backend kept from running."""

import os
import signal
from collections import Counter

import pytest
from hypothesis import settings

from tests.integration.servers import require

# Examples may take long on a busy machine; a hang is what the tests' own timeout finds.
# In CI the examples are the same in every run; elsewhere each run tries others.
settings.register_profile("patient", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("patient")

# A shell starts background jobs with SIGINT ignored; the processes of tests would inherit that and outlive Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
