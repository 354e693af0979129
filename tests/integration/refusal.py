"""How the exporter refuses to start."""

from collections.abc import Mapping

from tests.command import run
from tests.integration.servers import HOST


def refusal(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run the exporter; it must end with exit code 2 and one line, which is returned."""
    ended = run(*arguments, "--web.listen-address", f"{HOST}:0", env=env)
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("celery-exporter: error: ")
    return line
