"""How the consumers of a comparison are started."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.events.consumers import CONSUMERS, checkout
from tests.integration.servers import HOST, free_port
from tests.integration.servers.exporter import clean_environment


@pytest.mark.parametrize("module", ["exporter", "celery_metrics_exporter"])
def test_checkout_runs_its_own_exporter(tmp_path: Path, module: str) -> None:
    """The package is found in either layout, and runs in the environment of its checkout."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (tmp_path / "exporter" / module).mkdir(parents=True)
    consumer = checkout(tmp_path)
    assert str(tmp_path) in consumer.name
    assert consumer.command("redis://host", 1)[:3] == [str(python), "-m", module]


@pytest.mark.parametrize(("name", "scheme"), [("raw", "redis"), ("raw", "amqp"), ("bare", "redis")])
def test_counting_consumer_starts_anywhere(tmp_path: Path, name: str, scheme: str) -> None:
    """It gets as far as the broker from a folder that is not this checkout, as the benchmark runs it."""
    ended = subprocess.run(
        CONSUMERS[name]().command(f"{scheme}://{HOST}:{free_port()}", free_port()),
        env=clean_environment({"PYTHONPATH": ""}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "refused" in ended.stderr
