"""What pages tell to type: commands of ours are accepted, and flags, variables and targets exist, on every page."""

import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml
from celery.bin.celery import celery
from celery.worker.control import Panel

from celery_metrics_exporter.cli.main import commands
from celery_metrics_exporter.in_worker.settings import worker_options
from tests.command import environment
from tests.docs.pages import ROOT, commands_of, pages, tables

#: What people read; the pages of results name options of their own programs.
READ = [page for page in pages() if page.relative_to(ROOT).parts[0] not in {"benchmarks", "tests"}]
OPTIONS: list[click.Parameter] = [*commands().options(), *worker_options()]
OURS = {flag for option in OPTIONS for flag in (*option.opts, *option.secondary_opts)}
#: Flags that pages name of other programs.
OTHERS = frozenset(
    {
        *("--help", "--dump"),  # each program's own, celery's `events`
        *(
            "--build",
            "--build-arg",
            "--cap-drop",
            "--env",
            "--network",
            "--publish",
            "--pull",
            "--read-only",
            "--rm",
        ),  # docker
        *("--secret", "--security-opt", "--tag", "--target", "--format"),  # docker
        *("--from-file", "--from-literal", "--image", "--previous", "--set"),  # kubectl, helm
        *("--enable-feature", "--header", "--latency", "--owner", "--pid"),  # prometheus and others
        *("--constraint", "--strict"),  # pip, twine
        *("--rounds", "--table"),  # our benchmarks
        "--persistent",  # flower
    }
)
#: A command -> the tests that run it, or its parts.
ELSEWHERE = {
    "make": "targets are checked below; .ci/run calls them",
    "pip install": "tests/docs/test_readme.py installs",
    "python3 -m venv": "tests/docs/test_readme.py makes one",
    "docker": "tests/alerts/test_compose.py, tests/image",
    "kubectl create secret": "tests/helm mounts it",
    "helm test": "tests/helm",
    "gh attestation": "needs a release",
    "curl": "tests/web asks in the same way",
    "celery -A proj worker": "tests/integration/test_in_worker.py",
    "celery multi": "tests/integration/test_in_worker.py",
    "celery-exporter doctor": "tests/docs/test_readme.py",
}
_FLAG = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w(?![\w-])")
_APP = """
from celery import Celery

app = Celery("proj", broker="redis://localhost:6379/0")
"""


def without_others(text: str) -> str:
    """The page without the columns that tell what other exporters had."""
    for head, rows in tables(text):
        if head[0].startswith(("before", "flag before")):
            for row in rows:
                text = text.replace(f"| {row[0]} |", "| |")
    return text


COMMANDS = [
    pytest.param(command, id=f"{page.relative_to(ROOT)}: {command[:60]}")
    for page in READ
    for command in dict.fromkeys(commands_of(page.read_text(encoding="utf-8")))
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the application `proj`, in which our commands are found."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "proj").mkdir()
    (folder / "proj" / "__init__.py").touch()
    (folder / "proj" / "celery.py").write_text(_APP, encoding="utf-8")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_accepted(command: str, project: Path) -> None:
    """Ours check their settings, helm's name values of the chart; of the others it is known who runs them."""
    if command.startswith(tuple(ELSEWHERE)):
        return
    if command.startswith("helm install"):
        assert_values_exist(command)
        return
    if command.startswith("export "):
        command = f"{command}; celery-exporter --broker-url memory:// --check-config"
    elif command.startswith(("celery-exporter ", "celery -A proj exporter")) and "completion" not in command:
        command += " --check-config"
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=project,
        env=environment({"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    expected = "" if command.startswith("source ") else "configuration is valid\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


def assert_values_exist(command: str) -> None:
    """Each `--set a.b=c` names a value of the chart, each `-f` a file, but for the reader's own."""
    chart = ROOT / "helm" / "celery-exporter"
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    words = shlex.split(command)
    for option, value in pairwise(words):
        if option == "--set":
            found = values
            for key in value.partition("=")[0].split("."):
                found = found[key]
        elif option == "-f":
            assert value == "my-values.yaml" or (ROOT / value).is_file()


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_flags_exist(page: Path) -> None:
    """Each is one of ours, of Celery's programs, or of those that are listed above."""
    known = OURS | OTHERS | flags_of(celery) | flags_of(celery.commands["worker"])
    text = without_others(page.read_text(encoding="utf-8"))
    assert set(_FLAG.findall(text)) - known == set()


def test_listed_flags_are_named() -> None:
    """No flag of another program is listed that no page names."""
    named = {flag for page in READ for flag in _FLAG.findall(page.read_text(encoding="utf-8"))}
    assert named >= OTHERS


def flags_of(command: click.Command) -> set[str]:
    """The flags of a command."""
    return {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_variables_exist(page: Path) -> None:
    """Each `CELERY_EXPORTER_...` is the variable of an option, or of one of a worker's."""
    known = {str(option.envvar) for option in OPTIONS if option.envvar}
    named = set(re.findall(r"\bCELERY_EXPORTER_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
    assert named - known == set()


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_targets_exist(page: Path) -> None:
    """Each `make TARGET` is one of the Makefile's."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z][\w-]*)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert {name for name in named if not name.startswith("matrix-")} - targets == set()


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_celery_exist(page: Path) -> None:
    """Each `celery -A proj COMMAND`, and each remote control command that a worker is sent by it."""
    text = without_others(page.read_text(encoding="utf-8"))
    assert set(re.findall(r"celery -A proj (\w+)", text)) <= {*celery.commands, "exporter"}
    assert set(re.findall(r"celery -A proj (?:control|inspect) (\w+)", text)) <= set(Panel.data)


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_scripts_exist(page: Path) -> None:
    """Each `scripts/...` and `python -m benchmarks...` of a page."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`(scripts/[\w-]+)`", text):
        assert (ROOT / name).is_file()
    for name in re.findall(r"python -m ((?:benchmarks|tests)[\w.]*)", text):
        path = ROOT.joinpath(*name.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
