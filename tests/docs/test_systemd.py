"""The unit that docs/systemd offers: systemd understands it, and the exporter its command."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.command import COMMAND, environment
from tests.docs.pages import ROOT

UNIT = ROOT / "docs" / "systemd" / "celery-exporter.service"
INSTALLED = "/opt/celery-exporter/bin/celery-exporter"


@pytest.mark.needs("systemd")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """No unknown key, no bad value, nothing missing but the installed command, which stands in here."""
    command = tmp_path / "celery-exporter"
    command.touch(mode=0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(INSTALLED, str(command)), encoding="utf-8")
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.needs("systemd")
def test_systemd_finds_the_unit_hardened() -> None:
    """systemd rates the exposure of a service from 0 (none) to 10; up to 2.5 counts as little."""
    ended = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=25", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout


def test_the_command_is_accepted(tmp_path: Path) -> None:
    """With the credential that systemd would hand over, and a setting of the environment file."""
    found = re.search(r"^ExecStart=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    (tmp_path / "broker-url").write_text("redis://:password@localhost:6379/0\n", encoding="utf-8")
    installed, *args = shlex.split(found[1].replace("${CREDENTIALS_DIRECTORY}", str(tmp_path)))
    assert installed == INSTALLED
    ended = subprocess.run(
        [*COMMAND, *args, "--check-config"],
        cwd=ROOT,
        env=environment({"CELERY_EXPORTER_LOG_FORMAT": "json", "PATH": os.environ["PATH"]}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "configuration is valid\n", "")
