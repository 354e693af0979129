"""Options: from flags and environment variables to a configuration, and which of them wins."""

import dataclasses
import os
import re
from pathlib import Path

import click
import pytest

from celery_metrics_exporter.cli.main import commands
from celery_metrics_exporter.cli.options import run_options
from celery_metrics_exporter.cli.settings import config_from
from celery_metrics_exporter.config.config import BrokerTls, Config, EventQueue, ListenAddress
from celery_metrics_exporter.errors import ConfigError

OPTIONS = [
    option for section in run_options().values() for option in section if isinstance(option, click.Option)
]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine reaches a test."""
    for name in [name for name in os.environ if name.startswith("CELERY_")]:
        monkeypatch.delenv(name)


def config_of(*args: str, **env: str) -> Config:
    """The configuration that `run` makes of these arguments and of these variables."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        with commands().commands["run"].make_context("run", list(args)) as ctx:
            return config_from(ctx)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.opts[0])
def test_every_option_has_its_variable_and_shows_it(option: click.Option) -> None:
    """The variable's name follows from the flag's; the help shows it, and the default where there is one."""
    flag = max(option.opts, key=len)
    variable = "CELERY_EXPORTER_" + re.sub("[.-]", "_", flag.removeprefix("--")).upper()
    assert option.envvar == variable
    shown = (option.get_help_record(click.Context(click.Command("run"))) or ("", ""))[1]
    assert f"[env var: {variable}" in shown
    assert ("; default: " in shown) == (option.default is not None)


def test_every_option_is_named_after_its_setting() -> None:
    """The fields of a part of Config carry the part's name; what may be secret may come from a file too."""
    parts = {"": Config, "broker_tls_": BrokerTls, "event_queue_": EventQueue}
    settings = {prefix + field.name for prefix, part in parts.items() for field in dataclasses.fields(part)}
    assert {option.name for option in OPTIONS} == settings - {"tls", "event_queue"} | {
        "broker_url_file",
        "broker_transport_options_file",
    }


def test_defaults_that_are_shown_hold() -> None:
    """The default of each option, parsed like what a user writes, is the one of its setting."""
    ctx = commands().commands["run"].make_context("run", ["--broker-url", "memory://"])
    config = Config(broker_url="memory://")
    assert ctx.params["broker_tls_verify"] == BrokerTls().verify
    assert ctx.params["event_queue_routing_key"] == config.event_queue.routing_key
    shown = {str(option.name) for option in OPTIONS if option.default is not None}
    for name in shown - {"broker_tls_verify", "event_queue_routing_key"}:
        assert ctx.params[name] == getattr(config, name)
    assert len(shown) == 26


def test_a_broker_alone_gives_the_defaults() -> None:
    """What is not given is left to Config."""
    assert config_of("--broker-url", "memory://") == Config(broker_url="memory://")


def test_every_flag_reaches_its_setting(tmp_path: Path) -> None:
    """All flags at once."""
    pem = tmp_path / "x.pem"
    pem.touch()
    options = tmp_path / "options.yaml"
    options.write_text("e: f\n")
    line = (
        "--broker-url amqps://host -A proj.celery:app --broker-transport-option a.b=1 "
        "--broker-transport-option c=d --broker-transport-options-file OPTIONS "
        "--broker-tls-ca-file PEM --broker-tls-cert-file PEM "
        "--broker-tls-key-file PEM --broker-tls-server-name name --broker-tls-verify "
        "--event-queue-prefix p --event-queue-ttl 5m --event-queue-expires 60 --no-event-queue-exclusive "
        "--event-queue-durable --event-exchange x --event-serializer json --event-routing-key task.# --receiver kombu "
        "--no-enable-events --no-inspect-workers --inspect-interval 1m --no-recover --no-remote-control "
        "--control-exchange y "
        "--queue a --queue b "
        "--queue-include a* --queue-exclude b* --queue-exclude c* --queue-priorities --sample-interval 10s "
        "--management-url http://host:15672 --runtime-buckets 1,2,inf --wait-buckets 3 "
        "--no-classic-histograms --native-histograms --native-histogram-schema -2 --no-exemplars "
        "--worker-timeout 30s --worker-retention 2h "
        "--max-in-flight 5 --max-series 6 --web.listen-address :1 --web.listen-address [::1]:2 "
        "--web.telemetry-path /m --web.config.file PEM --log.level DEBUG --log.format json"
    )
    assert config_of(*line.replace("PEM", str(pem)).replace("OPTIONS", str(options)).split()) == Config(
        broker_url="amqps://host",
        app="proj.celery:app",
        transport_options={"a": {"b": 1}, "c": "d", "e": "f"},
        tls=BrokerTls(
            ca_file=str(pem), cert_file=str(pem), key_file=str(pem), server_name="name", verify=True
        ),
        event_queue=EventQueue(
            prefix="p",
            ttl=300,
            expires=60,
            exclusive=False,
            durable=True,
            exchange="x",
            serializer="json",
            routing_key="task.#",
        ),
        receiver="kombu",
        enable_events=False,
        inspect_workers=False,
        inspect_interval=60,
        recover=False,
        remote_control=False,
        control_exchange="y",
        queues=("a", "b"),
        queue_include=("a*",),
        queue_exclude=("b*", "c*"),
        queue_priorities=True,
        sample_interval=10,
        management_url="http://host:15672",
        runtime_buckets=(1, 2),
        wait_buckets=(3,),
        classic_histograms=False,
        native_histograms=True,
        native_histogram_schema=-2,
        exemplars=False,
        worker_timeout=30,
        worker_retention=7200,
        max_in_flight=5,
        max_series=6,
        listen=(ListenAddress("", 1), ListenAddress("::1", 2)),
        telemetry_path="/m",
        web_config_file=str(pem),
        log_level="debug",
        log_format="json",
    )


def test_variables_hold_any_text_as_json(tmp_path: Path) -> None:
    """What holds a blank or a comma is given as JSON, a secret option by a variable or a file."""
    options = tmp_path / "options.json"
    options.write_text('{"sentinel_kwargs": {"password": "a, b"}, "master_name": "x"}')
    config = config_of(
        CELERY_EXPORTER_BROKER_URL="sentinel://host",
        CELERY_EXPORTER_BROKER_TRANSPORT_OPTION='{"a": "b c, d", "master_name": "main"}',
        CELERY_EXPORTER_BROKER_TRANSPORT_OPTIONS_FILE=str(options),
        CELERY_EXPORTER_QUEUE='["mail, slow", "a b"]',
        CELERY_EXPORTER_CONTROL_EXCHANGE="shop",
    )
    assert config.transport_options == {
        "sentinel_kwargs": {"password": "a, b"},
        "master_name": "main",
        "a": "b c, d",
    }
    assert config.queues == ("mail, slow", "a b")
    assert config.control_exchange == "shop"


def test_variables_reach_their_settings() -> None:
    """Switches are true or false, lists are separated by whitespace or commas, empty ones do not count."""
    config = config_of(
        CELERY_EXPORTER_BROKER_URL="redis://host",
        CELERY_EXPORTER_BROKER_TRANSPORT_OPTION='a={"x": 1, "y": [2, 3]} b=c,d=true',
        CELERY_EXPORTER_BROKER_TLS_VERIFY="no",
        CELERY_EXPORTER_EVENT_QUEUE_DURABLE="true",
        CELERY_EXPORTER_EVENT_QUEUE_EXCLUSIVE="0",
        CELERY_EXPORTER_ENABLE_EVENTS="false",
        CELERY_EXPORTER_WEB_LISTEN_ADDRESS=":1, [::1]:2\n:3",
        CELERY_EXPORTER_QUEUE="mail, slow",
        CELERY_EXPORTER_QUEUE_PRIORITIES="yes",
        CELERY_EXPORTER_WORKER_TIMEOUT="",
        CELERY_EXPORTER_LOG_FORMAT="json",
    )
    assert config == Config(
        broker_url="redis://host",
        transport_options={"a": {"x": 1, "y": [2, 3]}, "b": "c", "d": True},
        tls=BrokerTls(verify=False),
        event_queue=EventQueue(durable=True, exclusive=False),
        enable_events=False,
        queues=("mail", "slow"),
        queue_priorities=True,
        listen=(ListenAddress("", 1), ListenAddress("::1", 2), ListenAddress("", 3)),
        log_format="json",
    )


def test_flag_beats_variable() -> None:
    """Also a switch, and a repeatable one as a whole."""
    config = config_of(
        *["--broker-url", "memory://", "--enable-events", "--web.listen-address", ":1", "--max-series", "1"],
        CELERY_EXPORTER_ENABLE_EVENTS="false",
        CELERY_EXPORTER_WEB_LISTEN_ADDRESS=":2",
        CELERY_EXPORTER_MAX_SERIES="2",
    )
    assert (config.enable_events, config.listen, config.max_series) == (True, (ListenAddress("", 1),), 1)


def test_sources_of_the_broker_have_an_order(tmp_path: Path) -> None:
    """Flag, file by flag, variable, file by variable, Celery's variable: each beats the next."""
    by_flag, by_env = tmp_path / "flag", tmp_path / "env"
    by_flag.write_text("redis://file-by-flag\n")
    by_env.write_text("redis://file-by-variable\n")
    sources = [
        (["--broker-url", "redis://flag"], {}, "redis://flag"),
        (["--broker-url-file", str(by_flag)], {}, "redis://file-by-flag"),
        ([], {"CELERY_EXPORTER_BROKER_URL": "redis://variable"}, "redis://variable"),
        ([], {"CELERY_EXPORTER_BROKER_URL_FILE": str(by_env)}, "redis://file-by-variable"),
        ([], {"CELERY_BROKER_URL": "redis://celery"}, "redis://celery"),
    ]
    for number, (args, _, expected) in enumerate(sources):
        weaker = {name: value for _, env, _ in sources[number:] for name, value in env.items()}
        assert config_of(*args, **weaker).broker_url == expected


def test_broker_by_flag_and_by_file_is_refused(tmp_path: Path) -> None:
    """Two flags for one thing are a mistake."""
    with pytest.raises(ConfigError, match="--broker-url and --broker-url-file exclude each other"):
        config_of("--broker-url", "memory://", "--broker-url-file", str(tmp_path / "none"))


def test_broker_file_that_is_not_needed_is_not_read() -> None:
    """A variable that points nowhere does not hinder who gives a URL."""
    config = config_of("--broker-url", "memory://", CELERY_EXPORTER_BROKER_URL_FILE="/none")
    assert config.broker_url == "memory://"


def test_app_alone_is_enough() -> None:
    """Its configuration names the broker."""
    assert config_of("-A", "proj").broker_url is None
