"""The metrics reference: what it shows of a family, and that docs/metrics.md is what the code says."""

from pathlib import Path

from exporter.collectors import CATALOGUE
from exporter.collectors.family import Family
from exporter.reference import as_markdown, as_text

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
    page = Path(__file__).parent.parent / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == as_markdown(CATALOGUE), "stale: run `make docs`"
