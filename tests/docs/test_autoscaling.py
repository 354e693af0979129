"""docs/autoscaling.md shows the queries of the examples, which tests/integration/test_autoscaling.py runs."""

from tests.docs.pages import ROOT, blocks
from tests.helm.queries import HELD, queries

PAGE = (ROOT / "docs" / "autoscaling.md").read_text(encoding="utf-8")


def test_the_page_shows_the_queries_of_the_examples() -> None:
    """Word for word, and no other but the one for RabbitMQ."""
    assert blocks(PAGE, "promql") == list(queries().values())
    assert HELD in PAGE
    assert PAGE.count("```promql") == len(queries()) + 1
