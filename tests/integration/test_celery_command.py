"""`celery -A proj exporter`: the exporter as a command of Celery's own command line."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests import preloaded
from tests.integration.known_counts import expected, submit, wait_until_counted, wait_until_receiving
from tests.integration.known_tasks import APP, environment
from tests.integration.nowhere import broker_of_complaint, nowhere
from tests.integration.servers import CeleryWorker, ExporterProcess, Valkey
from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.serving import fetch

StartExporter = Callable[..., ExporterProcess]
StartWorker = Callable[..., CeleryWorker]

CELERY = (sys.executable, "-m", "celery")
PASSWORD = "known-to-nobody"


def celery(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `celery` to its end."""
    return preloaded.run([*CELERY, *arguments], cwd=REPOSITORY, env=clean_environment(env), timeout=60)


def refusal(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run `celery ... exporter ...`; it must end with exit code 2 and one line, which is returned."""
    ended = celery(*arguments, env=env)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("celery exporter: error: ")
    return line


def test_it_exports(broker_url: str, start_exporter: StartExporter, start_worker: StartWorker) -> None:
    """Celery's application is the exporter's: events are counted, /metrics is served, SIGTERM ends it with 0."""
    settings = {"broker_url": broker_url}
    exporter = start_exporter(env=environment(settings), command=(*CELERY, "-A", APP, "exporter"))
    wait_until_receiving(exporter)
    assert exporter.value("celery_task_failed_total", task="known.fail", queue="celery") == 0
    worker = start_worker(APP, pool="solo", env=environment(settings))
    submit(settings)
    wait_until_counted(exporter, expected())
    assert fetch(exporter.url, "/-/ready").status == 200
    worker.kill()
    exporter.stop()
    assert all(line.startswith("ts=") for line in exporter.stderr.splitlines()), exporter.stderr
    assert 'msg="stopped"' in exporter.stderr


def test_ctrl_c_ends_it(valkey: Valkey, start_exporter: StartExporter) -> None:
    """SIGINT ends it like SIGTERM."""
    env = environment({"broker_url": valkey.url})
    exporter = start_exporter(env=env, command=(*CELERY, "-A", APP, "exporter"))
    wait_until_receiving(exporter)
    assert exporter.process.stop(timeout=10, number=signal.SIGINT) == 0
    exporter.kill()


NEAREST = [
    (("-b", "broker"), (), {}, "broker"),
    (("-b", "other"), ("--broker-url", "broker"), {}, "broker"),
    (("-b", "broker"), (), {"CELERY_EXPORTER_BROKER_URL": "other", "CELERY_BROKER_URL": "third"}, "broker"),
    ((), (), {"CELERY_EXPORTER_BROKER_URL": "broker", "CELERY_BROKER_URL": "other"}, "broker"),
    ((), (), {}, "application"),
]


@pytest.mark.parametrize(("celerys", "ours", "variables", "wanted"), NEAREST)
def test_which_broker(
    start_exporter: StartExporter,
    celerys: tuple[str, ...],
    ours: tuple[str, ...],
    variables: dict[str, str],
    wanted: str,
) -> None:
    """Our option beats `celery -b`, that our variable, that Celery's variable, and that the application."""
    urls = {name: nowhere() for name in ("broker", "other", "third", "application")}
    env = environment({"broker_url": urls["application"]})
    exporter = start_exporter(
        *(urls.get(word, word) for word in ours),
        env={**env, **{name: urls[value] for name, value in variables.items()}},
        command=(*CELERY, "-A", APP, *(urls.get(word, word) for word in celerys), "exporter"),
    )
    assert broker_of_complaint(exporter) == urls[wanted]


@pytest.mark.parametrize(
    ("celerys", "variables", "task"),
    [
        (("-A", "one"), {}, "one.work"),
        (("-A", "one"), {"CELERY_EXPORTER_APP": "two"}, "one.work"),
        ((), {"CELERY_EXPORTER_APP": "two"}, "two.work"),
        ((), {"CELERY_APP": "one"}, "one.work"),
        (("--config", "settings_of_a_module"), {}, "configured.work"),
        ((), {}, "default.work"),
    ],
    ids=["-A", "-A beats our variable", "our variable", "Celery's variable", "--config", "celeryconfig"],
)
def test_which_application(
    tmp_path: Path,
    start_exporter: StartExporter,
    celerys: tuple[str, ...],
    variables: dict[str, str],
    task: str,
) -> None:
    """The application is celery's, found in --workdir; without any it is the default one with its settings module."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(
            f"from celery import Celery\napp = Celery({name!r}, broker={nowhere()!r}, set_as_current=False)\n"
            f"@app.task(name='{name}.work', shared=False)\ndef work(): ...\n"
        )
    for module, name in (("settings_of_a_module", "configured"), ("celeryconfig", "default")):
        (folder / f"{module}.py").write_text(f"broker_url = {nowhere()!r}\nimports = ['{module}_tasks']\n")
        (folder / f"{module}_tasks.py").write_text(
            f"from celery import shared_task\n@shared_task(name='{name}.work')\ndef work() -> None: ...\n"
        )
    exporter = start_exporter(
        env=variables, command=(*CELERY, *celerys, "--workdir", str(folder), "exporter")
    )
    names = {
        dict(labels).get("task") for name, labels in exporter.scrape() if name == "celery_task_sent_total"
    }
    assert names == {task}


def test_help_is_that_of_run() -> None:
    """The sections, options, variables and defaults are those of `celery-exporter run`."""

    def options(text: str) -> list[str]:
        return " ".join(text[text.index("\nBroker:") :].split()).split(" -")

    ours = subprocess.run(
        [sys.executable, "-m", "celery_metrics_exporter", "run", "--help"],
        cwd=REPOSITORY,
        env=clean_environment({"COLUMNS": "80"}),
        capture_output=True,
        text=True,
        check=True,
    )
    ended = celery("-A", APP, "exporter", "--help", env={"COLUMNS": "80"})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert options(ended.stdout) == options(ours.stdout)


def test_celery_lists_it_and_stays_as_it_was() -> None:
    """`celery --help` shows one line of it and no warning; other commands load none of it but its name."""
    ended = celery("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    (line,) = [line for line in ended.stdout.splitlines() if "exporter" in line]
    assert line.split(maxsplit=1) == ["exporter", "Listen to the broker's events and serve metrics."]
    code = (
        "import sys; from celery.bin.celery import celery\n"
        "celery(['worker', '--help'], standalone_mode=False)\n"
        "import json; ours = [name for name in sys.modules if name.startswith('celery_metrics_exporter')]\n"
        "print(json.dumps(sorted(ours)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stdout.splitlines()[-1]) == [
        "celery_metrics_exporter",
        "celery_metrics_exporter.cli",
        "celery_metrics_exporter.cli.celery_command",
    ]


def test_the_entry_point() -> None:
    """Celery finds the command by the group that it loads commands from, under one name."""
    (found,) = [point for point in entry_points(group="celery.commands") if point.name == "exporter"]
    assert found.value == "celery_metrics_exporter.cli.celery_command:exporter"
    assert found.load().name == "exporter"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-serie",), ["unknown option '--max-serie'", "write --max-series"]),
        (("--max-series", "none"), ["--max-series", "not a whole number above 0"]),
        (("worker",), ["the command comes first"]),
        (("stray",), ["unexpected argument 'stray'", "celery exporter --help"]),
        ((f"redis://:{PASSWORD}@host",), ["write --broker-url"]),
        (("--broker-url", f"sqs://key:{PASSWORD}@"), ["sqs://"]),
        (("--app", "nothing_of_this_name"), ["nothing_of_this_name"]),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], words: list[str]) -> None:
    """What cannot work ends in one line and exit code 2, as it does in celery-exporter."""
    line = refusal("-A", APP, "exporter", *arguments)
    for word in words:
        assert word in line
    assert PASSWORD not in line


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"broker_url": f"nats://:{PASSWORD}@host"}, ["nats://"]),
        ({"event_serializer": "pickle"}, ["pickle"]),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, object], words: list[str]) -> None:
    """The application's settings are checked like options."""
    line = refusal("-A", APP, "exporter", env=environment(settings))
    for word in words:
        assert word in line
    assert PASSWORD not in line


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    """Settings are read late, and missing ones are refused in one line too."""
    (tmp_path / "odd.py").write_text(
        "from celery import Celery\napp = Celery('x')\napp.config_from_object('nothing_of_this_name')\n"
    )
    line = refusal("-A", "odd", "exporter", env={"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"})
    assert "nothing_of_this_name" in line


def test_settings_can_be_checked_alone() -> None:
    """--check-config connects to nothing and says that all is right."""
    ended = celery("-A", APP, "exporter", "--check-config", env=environment({"broker_url": nowhere()}))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "configuration is valid\n", "")


def test_options_that_a_project_adds_to_every_command(tmp_path: Path, start_exporter: StartExporter) -> None:
    """An option of `user_options["preload"]` is accepted, and delivered as Celery delivers it."""
    (tmp_path / "added.py").write_text(
        "import pathlib, click\nfrom celery import Celery, signals\n"
        f"app = Celery('added', broker={nowhere()!r})\n"
        "app.user_options['preload'].add(click.Option(('--tenant',)))\n"
        "@signals.user_preload_options.connect(weak=False)\n"
        "def note(options, **_):\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'tenant').write_text(options['tenant'])\n"
    )
    env = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    exporter = start_exporter("--tenant", "blue", env=env, command=(*CELERY, "-A", "added", "exporter"))
    assert fetch(exporter.url, "/metrics").status == 200
    assert (tmp_path / "tenant").read_text() == "blue"


def test_a_worker_of_the_project_is_as_ever(valkey: Valkey, start_worker: StartWorker) -> None:
    """`celery -A proj worker` starts, and its log knows nothing of us."""
    worker = start_worker(APP, pool="solo", env=environment({"broker_url": valkey.url}))
    assert "exporter" not in worker.output.replace(str(REPOSITORY), "")
    worker.kill()
