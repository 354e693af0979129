"""Reads the metrics pages of any exporter."""

import urllib.request
from collections.abc import Sequence
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

#: Our own counters of everything that came.
EVENTS: Final = "celery_exporter_events_total"
DROPPED: Final = "celery_exporter_events_dropped_total"
_SECONDS: Final = 30.0


def text(url: str, *names: str) -> str:
    """Read a page, of our exporter only some families if their samples are named."""
    query = "&".join(f"name[]={name}" for name in names)
    with urllib.request.urlopen(f"{url}?{query}" if names else url, timeout=_SECONDS) as response:  # noqa: S310 - http on 127.0.0.1
        return str(response.read(), "utf-8")


def samples(url: str, *names: str) -> list[Sample]:
    """The same, parsed."""
    families = text_string_to_metric_families(text(url, *names))
    return [sample for family in families for sample in family.samples]


def total(found: Sequence[Sample], name: str, **labels: str) -> int:
    """The sum of the samples of this name that carry these labels."""
    wanted = labels.items()
    return int(sum(each.value for each in found if each.name == name and wanted <= each.labels.items()))


def counted(url: str) -> int:
    """Events that our exporter has counted or dropped."""
    found = samples(url, EVENTS, DROPPED)
    return total(found, EVENTS) + total(found, DROPPED)
