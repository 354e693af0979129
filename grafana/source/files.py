"""Which dashboards there are, and the files that they are written to."""

from pathlib import Path
from typing import Final

from grafana.source import exporter, overview, queues, task, workers
from grafana.source.sheet import Sheet

FOLDER: Final = Path(__file__).resolve().parents[1] / "dashboards"

#: Name of the file, without its suffix -> dashboard.
SHEETS: Final[dict[str, Sheet]] = {
    "overview": overview.SHEET,
    "task": task.SHEET,
    "workers": workers.SHEET,
    "queues": queues.SHEET,
    "exporter": exporter.SHEET,
}
