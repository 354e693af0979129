"""How the metrics are served, as a family: absent without a web configuration file, else whether it is in force."""

import pytest

from celery_metrics_exporter.collectors import ServingCollector


@pytest.mark.parametrize(("holds", "values"), [(None, []), (True, [1.0]), (False, [0.0])])
def test_web_config_in_force(holds: bool | None, values: list[float]) -> None:
    """One gauge, or none."""
    samples = [
        (sample.name, sample.value)
        for metric in ServingCollector(None if holds is None else lambda: holds).collect()
        for sample in metric.samples
    ]
    assert samples == [("celery_exporter_web_config_last_reload_successful", value) for value in values]
