"""Shell completion: what a shell is offered while a command line is typed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import COMMAND, ROOT, environment, run


def offered(words: str) -> set[str]:
    """What the shell is offered for the last word of this line, each as `kind,text`."""
    ended = run(
        env={
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            "_CELERY_EXPORTER_COMPLETE": "bash_complete",
        }
    )
    assert ended.stderr == ""
    return set(ended.stdout.split())


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ("celery-exporter ", {"plain,run", "plain,demo", "plain,doctor", "plain,metrics"}),
        ("celery-exporter do", {"plain,doctor"}),
        ("celery-exporter --broker-tls-c", {"plain,--broker-tls-ca-file", "plain,--broker-tls-cert-file"}),
        ("celery-exporter run --check", {"plain,--check-config"}),
        ("celery-exporter doctor --js", {"plain,--json"}),
        ("celery-exporter --log.level ", {"plain,debug", "plain,info", "plain,warning", "plain,error"}),
        ("celery-exporter run --receiver k", {"plain,kombu"}),
        ("celery-exporter --broker-url-file /et", {"file,/et"}),
        ("celery-exporter --queue x", set()),
    ],
)
def test_offers(words: str, some: set[str]) -> None:
    """Commands first, options of the default command too, the words of a choice, files; exactly these."""
    assert offered(words) == some | (
        {"plain,healthcheck", "plain,completion"} if words == "celery-exporter " else set()
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str) -> None:
    """The script asks the command itself, under the name that is installed."""
    ended = run("completion", "--shell", shell)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"_CELERY_EXPORTER_COMPLETE={shell}_complete" in ended.stdout


def test_bash_completes(tmp_path: Path) -> None:
    """A real bash loads the script and finds the rest of a word."""
    bash = shutil.which("bash")
    assert bash is not None
    command = tmp_path / "celery-exporter"
    command.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec {" ".join(COMMAND)} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    script = (
        "source <(celery-exporter completion --shell bash)\n"
        "COMP_WORDS=(celery-exporter --web.tele) COMP_CWORD=1\n"
        "_celery_exporter_completion celery-exporter\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = os.pathsep.join((str(tmp_path), str(Path(sys.executable).parent), "/usr/bin", "/bin"))
    ended = subprocess.run(
        [bash, "-c", script],
        env={**environment(), "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("--web.telemetry-path\n", "")


def test_a_script_needs_a_shell() -> None:
    """Which shells there are is said."""
    ended = run("completion")
    assert ended.returncode == 2
    assert "--shell is missing: write one of bash, zsh, fish" in ended.stderr
