"""The settings of a worker's metrics: flags, variables, and what is refused."""

import click
import pytest
from celery import Celery
from click.testing import CliRunner

from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.in_worker import install
from celery_metrics_exporter.in_worker.settings import (
    ENV_PREFIX,
    Settings,
    Tuning,
    WorkerOption,
    settings_from,
    worker_options,
)


def parsed(*arguments: str, env: dict[str, str] | None = None) -> Settings:
    """The settings that a command with the options of a worker gets."""
    found: list[Settings] = []
    command = click.Command(
        "worker", params=[*worker_options()], callback=lambda **given: found.append(settings_from(given, {}))
    )
    result = CliRunner().invoke(command, arguments, env=env or {}, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return found[0]


def test_without_options_it_serves_on_its_port() -> None:
    """The defaults, from the command line and without one."""
    assert parsed() == Settings() == settings_from({}, {})
    assert Settings() == Settings(enabled=True, addresses=(":9809",), port_file=None, linger=0.0)


def test_flags_and_variables_say_the_same() -> None:
    """Each option has a variable, read by click or, where there is no command line, by us."""
    expected = Settings(
        enabled=False, addresses=("127.0.0.1:0", "[::1]:9810"), port_file="/run/%n", linger=90.0
    )
    flags = (
        *("--metrics-listen-address", "127.0.0.1:0", "--metrics-listen-address", "[::1]:9810"),
        *("--metrics-port-file", "/run/%n", "--metrics-linger", "1m30s", "--no-metrics"),
    )
    env = {
        f"{ENV_PREFIX}METRICS_LISTEN_ADDRESS": "127.0.0.1:0, [::1]:9810",
        f"{ENV_PREFIX}METRICS_PORT_FILE": "/run/%n",
        f"{ENV_PREFIX}METRICS_LINGER": "90",
        f"{ENV_PREFIX}NO_METRICS": "true",
    }
    assert parsed(*flags) == expected
    assert parsed(env=env) == expected
    assert settings_from({}, env) == expected


def test_a_flag_beats_its_variable() -> None:
    """As everywhere."""
    env = {f"{ENV_PREFIX}METRICS_LINGER": "1h", f"{ENV_PREFIX}METRICS_LISTEN_ADDRESS": ":1"}
    assert parsed("--metrics-linger", "5s", "--metrics-listen-address", ":2", env=env) == Settings(
        addresses=(":2",), linger=5.0
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("METRICS_LISTEN_ADDRESS", "9809"),
        ("METRICS_LISTEN_ADDRESS", ":99999"),
        ("METRICS_LINGER", "soon"),
        ("METRICS_LINGER", "-1"),
        ("METRICS_LINGER", "2h"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, text: str) -> None:
    """By click as bad usage, by us in a line that names the variable."""
    with pytest.raises(click.BadParameter):
        parsed(f"--{name.lower().replace('_', '-')}={text}")
    with pytest.raises(ConfigError, match=f"^{ENV_PREFIX}{name}: "):
        settings_from({}, {ENV_PREFIX + name: text})


@pytest.mark.parametrize("text", ["", "0", "no", "false"])
def test_a_variable_can_say_no(text: str) -> None:
    """NO_METRICS=0 leaves the metrics on."""
    assert settings_from({}, {f"{ENV_PREFIX}NO_METRICS": text}).enabled


def test_install_is_there_once() -> None:
    """A second call adds no second option and no second step."""
    app = Celery("once", set_as_current=False)
    install(app, stamp=False)
    steps = {name: set(app.steps[name]) for name in ("worker", "consumer")}
    install(app, stamp=False)
    options = [option for option in app.user_options["worker"] if isinstance(option, WorkerOption)]
    assert sorted(option.opts[0] for option in options) == [
        "--metrics-linger",
        "--metrics-listen-address",
        "--metrics-port-file",
        "--no-metrics",
    ]
    assert {name: set(app.steps[name]) for name in ("worker", "consumer")} == steps
    assert {name: len(added) for name, added in steps.items()} == {"worker": 1, "consumer": 2}


def test_tuning_tells_what_is_set() -> None:
    """What is None is left to the exporter's defaults."""
    assert Tuning().given() == {}
    assert Tuning(max_series=5, wait_buckets=(1.0, 2.0)).given() == {
        "max_series": 5,
        "wait_buckets": (1.0, 2.0),
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("--max-series must be at least 1", "max_series must be at least 1"),
        ("name another file with --web.config.file", "name another file with web_config_file"),
        ("choose another with --metrics-listen-address", "choose another with --metrics-listen-address"),
    ],
)
def test_messages_name_what_the_user_wrote(text: str, named: str) -> None:
    """Options of the exporter are arguments here; those of a worker stay."""
    assert Tuning().named(text) == named
