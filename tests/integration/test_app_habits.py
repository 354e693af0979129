"""--app: what projects do while they are imported leaves the exporter as it is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import ROOT, run
from tests.integration.known_counts import wait_until_receiving
from tests.integration.refusal import refusal
from tests.integration.servers import HOST, ExporterProcess, Valkey, free_port
from tests.serving import fetch

StartExporter = Callable[..., ExporterProcess]

URL = f"redis://{HOST}:1/0"
APP = f"from celery import Celery\napp = Celery('habits', broker={URL!r})\n"
#: What a project asks of the interpreter's end, and what would never end.
AT_EXIT = "import atexit, threading\natexit.register(threading.Event().wait)\n"
THREAD = "import threading\nthreading.Thread(target=threading.Event().wait, name='mine').start()\n"


@pytest.fixture
def path(tmp_path: Path) -> dict[str, str]:
    """The environment in which `habits` can be imported."""
    return {"PYTHONPATH": f"{tmp_path}:{ROOT}"}


@pytest.mark.parametrize("hindrance", [THREAD, AT_EXIT], ids=["thread", "atexit"])
def test_what_could_keep_it_from_its_end(
    valkey: Valkey, tmp_path: Path, path: dict[str, str], start_exporter: StartExporter, hindrance: str
) -> None:
    """A thread of the project that nobody stops, SIGTERM ignored: the exporter ends by SIGTERM with exit code 0."""
    ignore = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    (tmp_path / "habits.py").write_text(APP.replace(URL, valkey.url) + hindrance + ignore)
    exporter = start_exporter("--app", "habits", env=path)
    wait_until_receiving(exporter)
    exporter.stop()
    assert 'msg="stopped"' in exporter.stderr


def test_a_thread_before_an_error(tmp_path: Path, path: dict[str, str]) -> None:
    """Such a thread does not keep it from its end in one line either."""
    (tmp_path / "habits.py").write_text(THREAD + "raise RuntimeError('no settings here')\n")
    assert "no settings here" in refusal("--app", "habits", env=path)


def test_what_it_prints(tmp_path: Path, path: dict[str, str]) -> None:
    """Standard output stays ours; what a project prints goes to standard error."""
    (tmp_path / "habits.py").write_text(f"{APP}print('welcome to the shop')\n")
    ended = run("--check-config", "--app", "habits", env=path)
    assert (ended.returncode, ended.stdout) == (0, "configuration is valid\n")
    assert ended.stderr == "welcome to the shop\n"


def test_arguments_that_it_reads(tmp_path: Path, path: dict[str, str]) -> None:
    """A project sees the arguments of the process, as under `celery`; one that exits over them is refused."""
    (tmp_path / "habits.py").write_text(
        f"import json, pathlib, sys\n{APP}"
        f"pathlib.Path({str(tmp_path)!r}, 'argv').write_text(json.dumps(sys.argv[1:]))\n"
    )
    assert run("--check-config", "--app", "habits", env=path).returncode == 0
    assert json.loads((tmp_path / "argv").read_text()) == ["--check-config", "--app", "habits"]
    (tmp_path / "habits.py").write_text(f"import argparse\n{APP}argparse.ArgumentParser().parse_args()\n")
    ended = run("--check-config", "--app", "habits", env=path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("celery-exporter: error: --app habits cannot be loaded")


@pytest.mark.parametrize("name", ["habits:make_app", "habits:Shop"])
def test_what_makes_an_application_is_none(tmp_path: Path, path: dict[str, str], name: str) -> None:
    """A factory is refused as `celery -A` refuses it, with the way out."""
    (tmp_path / "habits.py").write_text(
        "from celery import Celery\nclass Shop(Celery): ...\ndef make_app(): return Shop('habits')\n"
    )
    line = refusal("--app", name, env=path)
    assert "Celery does not call a function" in line


def test_an_application_without_a_broker(
    tmp_path: Path, path: dict[str, str], start_exporter: StartExporter
) -> None:
    """Celery's own default counts: RabbitMQ on this machine."""
    (tmp_path / "habits.py").write_text("from celery import Celery\napp = Celery('habits')\n")
    exporter = start_exporter("--app", "habits", env=path)
    exporter.process.wait_until(
        lambda: "@localhost:5672// error=" in exporter.stderr, timeout=15, what="the default broker"
    )
    assert fetch(exporter.url, "/-/healthy").status == 200


def test_a_broken_router(tmp_path: Path, path: dict[str, str], start_exporter: StartExporter) -> None:
    """A router that fails costs no more than the label of its tasks."""
    (tmp_path / "habits.py").write_text(
        f"{APP.replace(URL, f'redis://{HOST}:{free_port()}/0')}"
        "def route(name, *_, **__): raise RuntimeError('no database here')\n"
        "app.conf.task_routes = [route]\n@app.task\ndef work(): ...\n"
    )
    exporter = start_exporter("--app", "habits", env=path)
    assert exporter.value("celery_task_failed_total", task="habits.work", queue="unknown") == 0
