"""A family is declared once, with names that need no escape."""

import pytest

from celery_metrics_exporter.collectors.family import Family


@pytest.mark.parametrize("name", ["celery.sent_total", "celery:sent", "größe", "0a", ""])
def test_names_are_plain(name: str) -> None:
    """No family or label has a name that an encoder would have to escape."""
    with pytest.raises(ValueError, match="no plain name"):
        Family(name, "counter", "Help.")
    with pytest.raises(ValueError, match="no plain name"):
        Family("celery_sent_total", "counter", "Help.", ("queue", name))
