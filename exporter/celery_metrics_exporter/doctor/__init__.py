"""`celery-exporter doctor`: checks the chain from the broker's name to the events of tasks, and says what to change.

It disturbs nothing: what it does to the broker is what the exporter does, and one question to workers besides.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from celery_metrics_exporter import __version__
from celery_metrics_exporter.connection.celery_app import broker_of
from celery_metrics_exporter.doctor.checks import examine
from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.progress import Progress
from celery_metrics_exporter.doctor.report import JsonReport, Report, TextReport
from celery_metrics_exporter.doctor.results import exit_code
from celery_metrics_exporter.logs import Redaction, hide

if TYPE_CHECKING:
    from celery_metrics_exporter.config.config import Config
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
    report: Report = TextReport(sys.stdout, colour=colour)
    if as_json:
        report = JsonReport(sys.stdout, version=__version__)
    context = Context(config, broker, Progress(sys.stderr), wait, timeout)
    findings: list[Finding] = []
    report.begin(redact(broker.name))
    try:
        for title, finding in examine(context, redact):
            findings.append(finding)
            report.add(title, finding)
    finally:
        context.close()
    report.end()
    return exit_code(findings)
