"""How the metrics are served, as families: whether the web configuration is in force, and whom the port cut."""

from collections import Counter

import pytest

from celery_metrics_exporter.collectors import ServingCollector


@pytest.mark.parametrize(("holds", "values"), [(None, []), (True, [1.0]), (False, [0.0])])
def test_web_config_in_force(holds: bool | None, values: list[float]) -> None:
    """One gauge, or none where there is no file."""
    samples = [
        (sample.name, sample.value)
        for metric in ServingCollector(None if holds is None else lambda: holds, Counter()).collect()
        for sample in metric.samples
        if "config" in sample.name
    ]
    assert samples == [("celery_exporter_web_config_last_reload_successful", value) for value in values]


def test_connections_that_were_cut() -> None:
    """A counter by reason, each from the start."""
    (metric,) = ServingCollector(None, Counter(waiting=3)).collect()
    assert [(sample.name, sample.labels["reason"], sample.value) for sample in metric.samples] == [
        ("celery_exporter_web_connections_cut_total", reason, value)
        for reason, value in (("waiting", 3), ("sending", 0), ("descriptors", 0))
    ]
