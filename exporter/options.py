"""The options of the commands: their flags, environment variables, defaults and help.

Owns what can be written on the command line and in the environment, and how it becomes a Config. Must not know what
is done with it. Every option has the variable CELERY_EXPORTER_<NAME>; a flag beats it.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import click
from click.core import ParameterSource

from exporter import parse
from exporter.config import LOG_FORMATS, LOG_LEVELS, RECEIVERS, BrokerTls, Config, EventQueue
from exporter.errors import ConfigError

ENV_PREFIX = "CELERY_EXPORTER_"

# Names of settings -> names of the options that give them.
_TLS = {name: f"broker_tls_{name}" for name in ("ca_file", "cert_file", "key_file", "server_name", "verify")}
_EVENT_QUEUE = {
    **{name: f"event_queue_{name}" for name in ("prefix", "ttl", "expires", "exclusive", "durable")},
    **{name: f"event_{name}" for name in ("exchange", "serializer", "routing_key")},
}
_OTHERS = {
    **{name: name for name in ("app", "enable_events", "runtime_buckets", "wait_buckets", "worker_timeout")},
    **{name: name for name in ("remote_control", "inspect_workers", "inspect_interval", "management_url")},
    **{name: name for name in ("queue_include", "queue_exclude", "queue_priorities", "sample_interval")},
    **{name: name for name in ("worker_retention", "max_in_flight", "max_series", "log_level", "log_format")},
    "receiver": "receiver",
    "queues": "queue",
    "listen": "web_listen_address",
    "telemetry_path": "web_telemetry_path",
}


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A click type around one of our parse functions; a refusal becomes click's."""

    def __init__(self, name: str, parse_text: Callable[[str], object]) -> None:
        self.name = name
        self._parse_text = parse_text

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if not isinstance(value, str):
            return value
        try:
            return self._parse_text(value)
        except ConfigError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    def split_envvar_value(self, rv: str) -> list[str]:
        return parse.split_words(rv)


_TEXT = _Parsed("text", str)
_FILE = _Parsed("file", parse.readable_file)
_DURATION = _Parsed("duration", parse.parse_duration)
_BUCKETS = _Parsed("seconds,...", parse.parse_buckets)
_COUNT = _Parsed("number", parse.parse_count)


def run_options() -> dict[str, list[click.Parameter]]:
    """The options of `run`, by the section of the help that they stand in."""
    return {
        "Broker": [
            _option("--broker-url", _TEXT, "Where the broker is; CELERY_BROKER_URL is honoured last."),
            _option("--broker-url-file", _Parsed("file", str), "File that holds the URL, to keep it secret."),
            _option(
                "--app",
                _Parsed("module:app", parse.parse_app),
                "Celery app to take the broker and settings from, such as proj.celery:app.",
                short="-A",
            ),
            _option(
                "--broker-transport-option",
                _Parsed("key=value", str),
                "Option of kombu's transport, such as master_name=main or sentinel_kwargs.password=...; repeatable.",
                multiple=True,
            ),
            _option("--broker-tls-ca-file", _FILE, "Authorities (PEM) to trust instead of the system's."),
            _option("--broker-tls-cert-file", _FILE, "Our certificate (PEM)."),
            _option("--broker-tls-key-file", _FILE, "Our certificate's key (PEM)."),
            _option("--broker-tls-server-name", _TEXT, "Name that the broker's certificate must carry."),
            _switch("--broker-tls-verify", "Check the broker's certificate.", default="on"),
        ],
        "Events": [
            _option("--event-queue-prefix", _TEXT, "Start of our queue's name."),
            _option("--event-queue-ttl", _DURATION, "How long an event may wait in our queue."),
            _option("--event-queue-expires", _DURATION, "When our queue goes after we are gone."),
            _switch("--event-queue-exclusive", "Let nobody else use our queue."),
            _switch("--event-queue-durable", "Keep our queue when the broker restarts."),
            _option("--event-exchange", _TEXT, "Exchange that workers publish events to."),
            _option("--event-serializer", _TEXT, "Serializer of the events."),
            _option("--event-routing-key", _TEXT, "Events to receive, such as task.#; default: all."),
            _option(
                "--receiver",
                _choice(*RECEIVERS),
                "How to receive: the fastest way for the broker, or kombu's for every broker.",
                "receiver",
            ),
        ],
        "Workers": [
            _switch("--enable-events", "Keep asking workers to send task events.", default="on"),
            _switch("--inspect-workers", "Ask workers for their pool and queues.", default="on"),
            _option(
                "--inspect-interval", _DURATION, "Time between two questions to workers.", "inspect_interval"
            ),
            _switch(
                "--remote-control", "Broadcast to workers at all; without it nothing is asked.", default="on"
            ),
        ],
        "Queues": [
            _option("--queue", _TEXT, "Queue to show in any case; repeatable.", multiple=True),
            _option(
                "--queue-include", _TEXT, "Shell pattern of the queues to show; repeatable.", multiple=True
            ),
            _option(
                "--queue-exclude",
                _TEXT,
                "Shell pattern of queues not to show; repeatable.",
                multiple=True,
            ),
            _switch("--queue-priorities", "Tell lengths by priority too (Redis).", default="off"),
            _option("--sample-interval", _DURATION, "Time between two looks at queues.", "sample_interval"),
            _option("--management-url", _TEXT, "RabbitMQ's management API, such as http://host:15672."),
        ],
        "Metrics": [
            _option(
                "--runtime-buckets", _BUCKETS, "Upper bounds of the runtime histogram.", "runtime_buckets"
            ),
            _option(
                "--wait-buckets", _BUCKETS, "Upper bounds of the waiting time histograms.", "wait_buckets"
            ),
            _option("--worker-timeout", _DURATION, "Silence after which a worker is down.", "worker_timeout"),
            _option("--worker-retention", _DURATION, "How long a lost worker is shown.", "worker_retention"),
            _option("--max-in-flight", _COUNT, "Tasks remembered at once.", "max_in_flight"),
            _option("--max-series", _COUNT, "Label sets a family; more fold into `other`.", "max_series"),
        ],
        "Serving": [
            listen_option(),
            _option("--web.telemetry-path", _TEXT, "Path of the metrics.", "telemetry_path"),
        ],
        "Logging": [
            _option("--log.level", _choice(*LOG_LEVELS), "Lowest level to log.", "log_level"),
            _option("--log.format", _choice(*LOG_FORMATS), "Form of a log line.", "log_format"),
        ],
    }


def listen_option() -> click.Option:
    """Where to serve; `run` and `demo` share it."""
    kind = _Parsed("host:port", parse.parse_listen_address)
    return _option("--web.listen-address", kind, "Address to serve on; repeatable.", "listen", multiple=True)


def duration_option() -> click.Option:
    """How long the demo lasts."""
    return _option("--duration", _DURATION, "End by itself after this time.")


def format_option() -> click.Option:
    """How the catalogue of metrics is written."""
    return _option("--format", _choice("text", "markdown"), "How to write it; default: text.")


def version_option(version: str) -> click.Option:
    """Print the version and end."""

    def show(ctx: click.Context, _: click.Parameter, value: object) -> None:
        if value:
            click.echo(f"celery-exporter {version}")
            ctx.exit()

    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show the version.",
    )


def config_from(ctx: click.Context, environ: Mapping[str, str]) -> Config:
    """The configuration that the parsed options of `run` ask for. Raises ConfigError."""
    # What is not given is left out, so that Config alone knows defaults.
    given = {
        name: value for name, value in ctx.params.items() if _source(ctx, name) != ParameterSource.DEFAULT
    }
    tls = _picked(given, _TLS)
    return Config(
        broker_url=_broker_url(ctx, environ),
        transport_options=parse.parse_transport_options(given.get("broker_transport_option", ())),
        tls=BrokerTls(**tls) if tls else None,
        event_queue=EventQueue(**_picked(given, _EVENT_QUEUE)),
        **_picked(given, _OTHERS),
    )


def _broker_url(ctx: click.Context, environ: Mapping[str, str]) -> str | None:
    url, file = ctx.params["broker_url"], ctx.params["broker_url_file"]
    if {_source(ctx, name) for name in ("broker_url", "broker_url_file")} == {ParameterSource.COMMANDLINE}:
        raise ConfigError("--broker-url and --broker-url-file exclude each other: drop one of them")
    if url is not None and (file is None or _source(ctx, "broker_url_file") != ParameterSource.COMMANDLINE):
        return str(url).strip()
    if file is not None:
        return parse.read_broker_url(file)
    return environ.get("CELERY_BROKER_URL", "").strip() or None


def _picked(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {setting: given[option] for setting, option in names.items() if option in given}


def _source(ctx: click.Context, name: str) -> ParameterSource | None:
    return ctx.get_parameter_source(name)


def _choice(*words: str) -> _Parsed:
    return _Parsed("|".join(words), lambda text: parse.parse_choice(text, words))


def _option(
    flag: str, kind: _Parsed, text: str, setting: str = "", *, short: str = "", multiple: bool = False
) -> click.Option:
    name = re.sub(r"[.-]", "_", flag.removeprefix("--"))
    return click.Option(
        [flag, name, *filter(None, [short])],
        type=kind,
        multiple=multiple,
        envvar=ENV_PREFIX + name.upper(),
        metavar=kind.name if "|" in kind.name else kind.name.upper(),
        help=_help(text, name, _default(setting)),
    )


def _switch(flag: str, text: str, default: str = "") -> click.Option:
    name = re.sub(r"[.-]", "_", flag.removeprefix("--"))
    return click.Option(
        [f"{flag}/--no-{flag.removeprefix('--')}", name],
        default=None,
        envvar=ENV_PREFIX + name.upper(),
        help=_help(text, name, default),
    )


def _help(text: str, name: str, default: str) -> str:
    return f"{text}  [env: {ENV_PREFIX}{name.upper()}{f'; default: {default}' if default else ''}]"


def _default(setting: str) -> str:
    """The default of a setting as it could be written on the command line."""
    value = next((field.default for field in dataclasses.fields(Config) if field.name == setting), "")
    if isinstance(value, tuple):
        return ", ".join(f"{item:g}" if isinstance(item, int | float) else str(item) for item in value)
    return f"{value:g}s" if isinstance(value, float) else str(value)
