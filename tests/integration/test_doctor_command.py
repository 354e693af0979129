"""The command itself: exit codes, colours on a terminal, no password anywhere."""

import os
import pty
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from tests.command import COMMAND, ROOT, environment, run
from tests.integration.servers import HOST, Valkey

PASSWORD = "known-to-nobody"


def on_terminal(*args: str, env: Mapping[str, str]) -> tuple[int, str]:
    """Run the command with its output on a terminal; its exit code and what stood there."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *args], cwd=ROOT, env=environment(env), stdout=slave, stderr=subprocess.PIPE
    ) as process:
        os.close(slave)
        written = b""
        with suppress(OSError):  # so Linux says that nobody has the other end any more
            while chunk := os.read(master, 65536):
                written += chunk
        process.communicate(timeout=60)
    os.close(master)
    return process.returncode, written.decode()


def test_the_command(valkey: Valkey) -> None:
    """Coloured on a terminal unless NO_COLOR is set, plain in a pipe; 1 when something failed; no password."""
    with valkey.client() as client:
        client.config_set("requirepass", "another")
    url = f"redis://:{PASSWORD}@{HOST}:{valkey.port}/0"
    code, text = on_terminal("doctor", "--broker-url", url, env={"TERM": "xterm", "NO_COLOR": ""})
    assert code == 1
    assert "\033[31mfailed \033[0m  login" in text
    assert PASSWORD not in text
    code, text = on_terminal("doctor", "--broker-url", url, env={"TERM": "xterm", "NO_COLOR": "1"})
    assert code == 1
    assert "\033" not in text
    done = run("doctor", "--broker-url", url)
    assert done.returncode == 1
    assert "\033" not in done.stdout
    assert "failed   login" in done.stdout
    assert not done.stderr
    assert PASSWORD not in done.stdout


def test_bad_usage() -> None:
    """Exit code 2 and one line."""
    done = run("doctor", "--broker-url", "sqs://")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout
