"""What `make matrix` makes of pytest's report and of a root's list of packages; and what its columns name is there."""

from pathlib import Path

import pytest

from tests.integration.servers.exporter import REPOSITORY
from tests.matrix.__main__ import installed, outcomes
from tests.matrix.columns import COLUMNS, Column, paths

REPORT = """<?xml version="1.0"?><testsuites><testsuite tests="4">
<testcase classname="tests.a.test_one" name="test_good"/>
<testcase classname="tests.a.test_one" name="test_bad[x]"><failure message="m">text</failure></testcase>
<testcase classname="tests.b.test_two" name="test_broken"><error message="m">text</error></testcase>
<testcase classname="tests.b.test_two.TestClass" name="test_left_out"><skipped message="m">text</skipped></testcase>
</testsuite></testsuites>"""

STATUS = """Package: rabbitmq-server
Status: install ok installed
Version: 4.0.5-8
Architecture: all

Package: prometheus
Status: install ok installed
Version: 2.53.3+ds1-2
Architecture: amd64

"""


def test_outcomes() -> None:
    """Failures and errors are failed tests, which are named; each test counts under its subject."""
    counts, failures = outcomes(REPORT, {"first": ["tests/a"], "second": ["tests/b/test_two.py"]})
    assert counts == {"first": {"passed": 1, "failed": 1}, "second": {"failed": 1, "skipped": 1}}
    assert failures == ["tests.a.test_one.test_bad[x]", "tests.b.test_two.test_broken"]


def test_versions(tmp_path: Path) -> None:
    """The upstream version of what is installed; the rest is left out."""
    folder = tmp_path / "var" / "lib" / "dpkg"
    (folder / "info").mkdir(parents=True)
    (folder / "status").write_text(STATUS)
    found = installed(tmp_path, "rabbitmq-server", "valkey-server", "prometheus")
    assert found == {"RabbitMQ": "4.0.5", "Prometheus": "2.53.3"}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_every_test_is_there(column: Column) -> None:
    """A test that was renamed is not forgotten silently."""
    assert not [path for path in paths(column.subjects) if not (REPOSITORY / path).exists()]
