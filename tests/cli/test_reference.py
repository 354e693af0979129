"""The references: what they show of a family or an option, and that the pages in docs are what the code says."""

from pathlib import Path

import click
import pytest

from celery_metrics_exporter.cli.options import run_options
from celery_metrics_exporter.cli.reference import as_markdown, as_text, options_as_markdown
from celery_metrics_exporter.collectors import CATALOGUE
from celery_metrics_exporter.collectors.family import Family

FAMILIES = (
    Family("celery_exporter_events_total", "counter", "Events by type.", ("event",)),
    Family("celery_task_sent_total", "counter", "Counts task-sent | events.", ("task", "queue")),
    Family("celery_worker_lost_total", "counter", "Workers lost."),
)


def test_text() -> None:
    """Sections in a fixed order, each family with its labels, kind and meaning."""
    assert as_text(FAMILIES) == (
        "Tasks\n"
        "  celery_task_sent_total{task, queue} (counter)\n"
        "      Counts task-sent | events.\n"
        "\nWorkers\n"
        "  celery_worker_lost_total (counter)\n"
        "      Workers lost.\n"
        "\nExporter\n"
        "  celery_exporter_events_total{event} (counter)\n"
        "      Events by type.\n"
    )


def test_markdown() -> None:
    """A note that the page is generated, and a table for each section."""
    page = as_markdown(FAMILIES)
    assert page.startswith("<!-- Generated")
    assert "## Tasks\n\n| name | kind | labels | meaning |\n|---|---|---|---|\n" in page
    assert "| `celery_task_sent_total` | counter | `task`, `queue` | Counts task-sent \\| events. |\n" in page
    assert "| `celery_worker_lost_total` | counter |  | Workers lost. |\n" in page
    assert "## Queues" not in page


def test_reference_in_docs_is_what_the_code_says() -> None:
    """Who changes a metric runs `make docs`."""
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == as_markdown(CATALOGUE), "stale: run `make docs`"


def test_options() -> None:
    """Each option with its flags, variable, default and meaning."""
    page = options_as_markdown(run_options())
    assert page.startswith("<!-- Generated")
    assert "## Broker\n\n| flag | variable | default | meaning |\n|---|---|---|---|\n" in page
    assert "| `--app`, `-A` | `CELERY_EXPORTER_APP` |  | Celery application" in page
    assert (
        "| `--enable-events`, `--no-enable-events` | `CELERY_EXPORTER_ENABLE_EVENTS` | `on` | Keep asking"
        in page
    )
    assert "| `--worker-timeout` | `CELERY_EXPORTER_WORKER_TIMEOUT` | `60s` | Silence" in page


def test_option_without_a_variable_is_refused() -> None:
    """The page would not tell all there is to it."""
    with pytest.raises(ValueError, match="verbose"):
        options_as_markdown({"Others": [click.Option(["--verbose"], help="Say more.")]})


def test_flags_in_docs_are_what_the_code_says() -> None:
    """Who changes an option runs `make docs`."""
    page = Path(__file__).parents[2] / "docs" / "flags.md"
    assert page.read_text(encoding="utf-8") == options_as_markdown(run_options()), "stale: run `make docs`"
