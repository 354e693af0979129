"""Programs that are forked with their imports done behave as those of an interpreter of their own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import preloaded
from tests.waiting import wait_for

_SHOW = """
import atexit, json, os, sys, threading
atexit.register(print, "at exit")
threading.Timer(0.05, print, ["a thread"]).start()
print("on stderr", file=sys.stderr)
print(json.dumps({
    "name": __name__, "argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ), "path": sys.path,
    "stdin": sys.stdin.read(), "leader": os.getpgrp() == os.getpid(), "files": sorted(os.listdir("/proc/self/fd")),
}))
sys.exit(7)
"""
_SLEEP = "import os, sys, time\nprint('ready', flush=True)\ntime.sleep(60)\n"


def test_a_program_is_as_in_an_interpreter_of_its_own(tmp_path: Path) -> None:
    """Name, arguments, folder, environment, import path, files, both outputs, threads, end and exit code."""
    (tmp_path / "show.py").write_text(_SHOW)
    argv = [sys.executable, "-m", "show", "--option", "a value"]
    env = {"PATH": os.environ["PATH"], "ONE": "1", "LANG": "C.UTF-8"}
    assert preloaded.is_preloaded(argv, env)
    forked = preloaded.run(argv, env=env, cwd=tmp_path, timeout=30)
    fresh = subprocess.run(
        argv,
        env=env,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert (forked.returncode, forked.stderr) == (fresh.returncode, fresh.stderr) == (7, "on stderr\n")
    shown, *rest = forked.stdout.splitlines()
    wanted, *others = fresh.stdout.splitlines()
    assert json.loads(shown) == json.loads(wanted)
    assert rest == others == ["a thread", "at exit"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """Its end is told as subprocess tells it, and until then it runs."""
    (tmp_path / "sleep.py").write_text(_SLEEP)
    with (tmp_path / "output").open("w") as output:
        program = preloaded.Preloaded(
            [sys.executable, "-m", "sleep"],
            env={"PATH": os.environ["PATH"]},
            cwd=tmp_path,
            stdout=output.fileno(),
            stderr=output.fileno(),
        )
    wait_for(lambda: (tmp_path / "output").read_text() == "ready\n", timeout=30, what="a program that runs")
    assert program.poll() is None
    os.kill(program.pid, number)
    assert program.wait(30) == program.poll() == -number


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        ([sys.executable, "-c", "pass"], {}),
        ([sys.executable, "-m", "celery", "worker", "--pool", "gevent"], {}),
        ([sys.executable, "-m", "celery", "report"], {"PYTHONPATH": "/elsewhere"}),
        (["celery", "report"], {}),
    ],
)
def test_what_imports_differently_gets_an_interpreter(argv: list[str], env: dict[str, str]) -> None:
    """Green threads patch before they import, and other folders may have other modules of the same names."""
    assert not preloaded.is_preloaded(argv, env)
