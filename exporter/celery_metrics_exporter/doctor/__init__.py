"""`celery-exporter doctor`: checks the chain from the broker's name to the events of tasks, and says what to change.

It disturbs nothing: what it does to the broker is what the exporter does, and one question to workers besides.
"""

from __future__ import annotations

import sys

from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.doctor.checks import examine
from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.report import document_of, exit_code, lines_of, summary_of
from celery_metrics_exporter.logs import hide
from celery_metrics_exporter.redaction import Redaction
from celery_metrics_exporter.status_page.findings import Finding

__all__ = ("run_doctor",)


def run_doctor(config: Config, *, as_json: bool, wait: float, colour: bool, timeout: float = 5.0) -> int:
    """Examine what this configuration would make the exporter do, and write what was found to standard output.

    Args:
        config: as for `run`; what the web server would need of it is not looked at.
        as_json: write one document instead of lines, see ``doctor.report``.
        wait: seconds for which the exporter listens.
        colour: lines are coloured.
        timeout: seconds for connecting to the broker, and for each of its answers.

    Returns:
        The exit code: 0 if nothing failed, though there may be warnings; 1 if anything did.

    Raises:
        ConfigError: the configuration cannot work at all.
    """
    broker = broker_of(config)
    redact = Redaction(broker.secrets)
    hide(broker.secrets)
    name = redact(broker.name)
    context = Context(config, broker, wait, timeout)
    found: dict[str, Finding] = {}
    if not as_json:
        _write(f"broker {name}\n")
    with context.leaving:
        for title, finding in examine(context, redact):
            found[title] = finding
            if not as_json:
                _write(lines_of(title, finding, colour=colour))
    _write(document_of(name, found) if as_json else f"\n{summary_of(found.values(), colour=colour)}")
    return exit_code(found.values())


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
