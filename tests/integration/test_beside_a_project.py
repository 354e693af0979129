"""Installing the exporter never stops a worker: a real project with a package ``exporter`` of its own, and our wheel.

Celery loads our entry point before it loads the project, in each of its commands.
"""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery

from celery_metrics_exporter import __version__
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import ExporterProcess, ServerProcess, Valkey
from tests.integration.servers.exporter import REPOSITORY, clean_environment
from tests.waiting import wait_for

TASK = "exporter.mine.double"
PROJECT = {
    "exporter/__init__.py": "",
    "exporter/mine.py": (
        "import os\n"
        "from celery import Celery\n"
        "app = Celery('proj', broker=os.environ.get('PROJ_BROKER', 'memory://'))\n"
        "app.conf.broker_connection_retry_on_startup = True\n"
        "@app.task\n"
        "def double(number):\n"
        "    return 2 * number\n"
    ),
    "proj.py": "from exporter.mine import app\n",
}


@dataclass(frozen=True, slots=True)
class Installed:
    """A project's folder, and the virtual environment that Celery and our wheel are installed in."""

    project: Path
    environment: Path

    def command(self, name: str) -> str:
        """Where a command of the environment is."""
        return str(self.environment / "bin" / name)

    def variables(
        self, broker_url: str = "memory://", *, first_on_path: Path | None = None
    ) -> dict[str, str]:
        """The variables of a process of this project, which keeps what it has compiled for the next one."""
        own = {"PYTHONPATH": str(first_on_path or ""), "PROJ_BROKER": broker_url}
        return clean_environment({**own, "PYTHONDONTWRITEBYTECODE": ""})

    def run(
        self, name: str, *arguments: str, first_on_path: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in the project's folder."""
        return subprocess.run(
            [self.command(name), *arguments],
            cwd=self.project,
            env=self.variables(first_on_path=first_on_path),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @contextmanager
    def worker(self, broker_url: str, *, first_on_path: Path | None = None) -> Iterator[ServerProcess]:
        """A worker of the project, which has executed nothing yet."""
        options = ("--pool", "solo", "--without-gossip", "--without-mingle", "--task-events")
        worker = ServerProcess(
            [self.command("celery"), "-A", "proj", "worker", "--loglevel", "INFO", *options],
            log=self.project / "worker.log",
            env=self.variables(broker_url, first_on_path=first_on_path),
            cwd=self.project,
        )
        worker.start()
        try:
            worker.wait_until(lambda: " ready." in worker.output, timeout=60, what="a ready worker")
            yield worker
        finally:
            worker.kill()


def call(worker: ServerProcess, broker_url: str) -> None:
    """Send a task, and wait until the worker has executed it."""
    with Celery(broker=broker_url, set_as_current=False) as app:
        app.send_task(TASK, args=[21])
    worker.wait_until(
        lambda: any(TASK in line and line.endswith(": 42") for line in worker.output.splitlines()),
        timeout=30,
        what="an executed task",
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built from this repository."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; all else comes from the one that the tests run in."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--no-index",
            "--no-deps",
            str(wheel),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    # Not one of its own .pth files is read there, so that the wheel is the only exporter.
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # Like pip's: the current folder is not on the path when Celery loads its commands.
    script = folder / "bin" / "celery"
    script.write_text(f"#!{python}\nimport sys\nfrom celery.__main__ import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return folder


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Installed:
    """The project, beside our wheel."""
    project = tmp_path / "project"
    for name, text in PROJECT.items():
        file = project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Installed(project, environment)


def test_the_wheel_has_one_package(wheel: Path) -> None:
    """Nothing that a project may have too: our package and what describes the distribution."""
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
    assert top == {"celery_metrics_exporter", f"celery_metrics_exporter-{__version__}.dist-info"}


def test_the_wheel_is_what_runs(installed: Installed) -> None:
    """As a module and as a command; the package ``exporter`` is the project's."""
    for command in (("python", "-m", "celery_metrics_exporter"), ("celery-exporter",)):
        ended = installed.run(*command, "--version")
        assert (ended.stdout, ended.stderr) == (f"celery-exporter {__version__}\n", "")
    code = (
        "import celery_metrics_exporter, exporter; print(celery_metrics_exporter.__file__, exporter.__file__)"
    )
    ours, its = installed.run("python", "-c", code).stdout.split()
    assert Path(ours).is_relative_to(installed.environment)
    assert Path(its).is_relative_to(installed.project)


def test_commands_of_the_project(installed: Installed) -> None:
    """Celery's own commands find the project's package, and ours takes the project's settings."""
    report = installed.run("celery", "-A", "proj", "report")
    assert (report.returncode, report.stderr) == (0, "")
    assert "software -> celery:" in report.stdout
    checked = installed.run("celery", "-A", "proj", "exporter", "--check-config")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "configuration is valid\n", "")


def test_worker_and_exporter_of_the_project(installed: Installed, valkey: Valkey) -> None:
    """A task of the project's package ``exporter`` is executed by its worker and counted by our command."""
    command = (installed.command("celery"), "-A", "proj", "exporter")
    with (
        ExporterProcess(
            installed.project, (), env=installed.variables(valkey.url), command=command
        ) as exporter,
        installed.worker(valkey.url) as worker,
    ):
        wait_until_receiving(exporter)
        call(worker, valkey.url)
        wait_for(
            lambda: exporter.value("celery_task_succeeded_total", task=TASK, queue="celery") == 1,
            timeout=15,
            what=lambda: f"a counted task: {exporter.text()}",
        )


def break_module(folder: Path, name: str) -> Path:
    """A folder that, first on the path, makes the import of this module fail."""
    (folder / f"{name}.py").write_text("raise RuntimeError('broken\\non purpose')\n")
    return folder


@pytest.mark.parametrize("broken", ["msgspec", "celery_metrics_exporter"])
def test_broken_exporter_stops_no_worker(
    installed: Installed, valkey: Valkey, tmp_path: Path, broken: str
) -> None:
    """Whether a dependency of ours or our package raises an exception, Celery's own commands work."""
    path = break_module(tmp_path, broken)
    with installed.worker(valkey.url, first_on_path=path) as worker:
        call(worker, valkey.url)
    report = installed.run("celery", "-A", "proj", "report", first_on_path=path)
    assert (report.returncode, report.stderr) == (0, "")


def test_broken_dependency_is_told_in_one_line(installed: Installed, tmp_path: Path) -> None:
    """By either command that runs an exporter, with exit code 1; the help is still there."""
    path = break_module(tmp_path, "msgspec")
    for command, program in (
        (("celery", "-A", "proj", "exporter"), "celery exporter"),
        (("celery-exporter", "--broker-url", "memory://"), "celery-exporter"),
    ):
        ended = installed.run(*command, first_on_path=path)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == (
            f"{program}: error: the exporter cannot be imported: RuntimeError: broken on purpose in "
            f"{path / 'msgspec.py'}, line 1: reinstall the package that this file belongs to\n"
        )
    shown = installed.run("celery", "-A", "proj", "exporter", "--help", first_on_path=path)
    assert "--max-series" in shown.stdout


def test_broken_package_is_told(installed: Installed, tmp_path: Path) -> None:
    """Celery itself says what it could not load, and warns in its list of commands."""
    path = break_module(tmp_path, "celery_metrics_exporter")
    ended = installed.run("celery", "-A", "proj", "exporter", first_on_path=path)
    assert ended.returncode == 1
    assert f"{path / 'celery_metrics_exporter.py'}" in ended.stdout + ended.stderr
    listed = installed.run("celery", "--help", first_on_path=path)
    assert listed.returncode == 0
    assert "could not load plugin" in listed.stdout
