"""The options of the commands: their flags, environment variables, defaults and help.

Owns what can be written on the command line and in the environment, and how it becomes a Config. Must not know what
is done with it, nor how an option is made. A flag beats its variable.
"""

from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from celery_metrics_exporter.cli.option_types import Parsed, action, choice, option, switch
from celery_metrics_exporter.config import parse
from celery_metrics_exporter.config.config import (
    LOG_FORMATS,
    LOG_LEVELS,
    RECEIVERS,
    BrokerTls,
    Config,
    EventQueue,
)
from celery_metrics_exporter.errors import ConfigError

SHELLS = ("bash", "zsh", "fish")
#: Seconds that the doctor listens: several heartbeats of a worker, which come every 2 s.
DOCTOR_WAIT = 10.0

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
    **{name: name for name in ("receiver", "app_tasks")},
    "queues": "queue",
    "listen": "web_listen_address",
    "telemetry_path": "web_telemetry_path",
    "web_config_file": "web_config_file",
}


_TEXT = Parsed("text", str)
_FILE = Parsed("file", parse.readable_file)
_DURATION = Parsed("duration", parse.parse_duration)
_BUCKETS = Parsed("seconds,...", parse.parse_buckets)
_COUNT = Parsed("number", parse.parse_count)


def run_options() -> dict[str, list[click.Parameter]]:
    """The options of `run`, by the section of the help that they stand in."""
    return {
        "Broker": [
            option("--broker-url", _TEXT, "Where the broker is; CELERY_BROKER_URL is honoured last."),
            option("--broker-url-file", Parsed("file", str), "File that holds the URL, to keep it secret."),
            option(
                "--app",
                Parsed("module:app", parse.parse_app),
                "Celery app to take the broker and settings from, such as proj.celery:app.",
                short="-A",
            ),
            switch("--app-tasks", "Import the app's tasks, to show each from the start.", default="on"),
            option(
                "--broker-transport-option",
                Parsed("key=value", str),
                "Option of kombu's transport, such as master_name=main or sentinel_kwargs.password=...; repeatable.",
                multiple=True,
            ),
            option("--broker-tls-ca-file", _FILE, "Authorities (PEM) to trust instead of the system's."),
            option("--broker-tls-cert-file", _FILE, "Our certificate (PEM)."),
            option("--broker-tls-key-file", _FILE, "Our certificate's key (PEM)."),
            option("--broker-tls-server-name", _TEXT, "Name that the broker's certificate must carry."),
            switch("--broker-tls-verify", "Check the broker's certificate.", default="on"),
        ],
        "Events": [
            option("--event-queue-prefix", _TEXT, "Start of our queue's name."),
            option("--event-queue-ttl", _DURATION, "How long an event may wait in our queue."),
            option("--event-queue-expires", _DURATION, "When our queue goes after we are gone."),
            switch("--event-queue-exclusive", "Let nobody else use our queue."),
            switch("--event-queue-durable", "Keep our queue when the broker restarts."),
            option("--event-exchange", _TEXT, "Exchange that workers publish events to."),
            option("--event-serializer", _TEXT, "Serializer of the events."),
            option("--event-routing-key", _TEXT, "Events to receive, such as task.#; default: all."),
            option(
                "--receiver",
                choice(*RECEIVERS),
                "How to receive: the fastest way for the broker, or kombu's for every broker.",
                "receiver",
            ),
        ],
        "Workers": [
            switch("--enable-events", "Keep asking workers to send task events.", default="on"),
            switch("--inspect-workers", "Ask workers for their pool and queues.", default="on"),
            option(
                "--inspect-interval", _DURATION, "Time between two questions to workers.", "inspect_interval"
            ),
            switch(
                "--remote-control", "Broadcast to workers at all; without it nothing is asked.", default="on"
            ),
        ],
        "Queues": [
            option("--queue", _TEXT, "Queue to show in any case; repeatable.", multiple=True),
            option(
                "--queue-include", _TEXT, "Shell pattern of the queues to show; repeatable.", multiple=True
            ),
            option(
                "--queue-exclude",
                _TEXT,
                "Shell pattern of queues not to show; repeatable.",
                multiple=True,
            ),
            switch("--queue-priorities", "Tell lengths by priority too (Redis).", default="off"),
            option("--sample-interval", _DURATION, "Time between two looks at queues.", "sample_interval"),
            option("--management-url", _TEXT, "RabbitMQ's management API, such as http://host:15672."),
        ],
        "Metrics": [
            option(
                "--runtime-buckets", _BUCKETS, "Upper bounds of the runtime histogram.", "runtime_buckets"
            ),
            option(
                "--wait-buckets", _BUCKETS, "Upper bounds of the waiting time histograms.", "wait_buckets"
            ),
            option("--worker-timeout", _DURATION, "Silence after which a worker is down.", "worker_timeout"),
            option("--worker-retention", _DURATION, "How long a lost worker is shown.", "worker_retention"),
            option("--max-in-flight", _COUNT, "Tasks remembered at once.", "max_in_flight"),
            option("--max-series", _COUNT, "Label sets a family; more fold into `other`.", "max_series"),
        ],
        "Serving": [
            listen_option(),
            option("--web.telemetry-path", _TEXT, "Path of the metrics.", "telemetry_path"),
            web_config_option(),
        ],
        "Logging": [
            option("--log.level", choice(*LOG_LEVELS), "Lowest level to log.", "log_level"),
            option("--log.format", choice(*LOG_FORMATS), "Form of a log line.", "log_format"),
        ],
    }


def listen_option() -> click.Option:
    """Where to serve; `run` and `demo` share it."""
    kind = Parsed("host:port", parse.parse_listen_address)
    return option("--web.listen-address", kind, "Address to serve on; repeatable.", "listen", multiple=True)


def web_config_option() -> click.Option:
    """How to serve safely; `run` and `healthcheck` share it."""
    return option("--web.config.file", _FILE, "TLS and users, in the format of Prometheus' exporter-toolkit.")


def check_option() -> click.Option:
    """Check and end."""
    return action("--check-config", "Check all settings without connecting to anything, then end.")


def doctor_options() -> dict[str, list[click.Parameter]]:
    """The options of `doctor`, which takes those of `run` too, so that it looks at what `run` would do."""
    return {
        "Doctor": [
            option(
                "--wait", _DURATION, f"How long to wait for workers and events; default: {DOCTOR_WAIT:g}s."
            ),
            action("--json", "Write the findings as JSON."),
            click.Option(["--color/--no-color"], default=None, help="Colours; default: on a terminal."),
        ],
        **run_options(),
    }


def duration_option() -> click.Option:
    """How long the demo lasts."""
    return option("--duration", _DURATION, "End by itself after this time.")


def format_option() -> click.Option:
    """How the catalogue of metrics is written."""
    return option("--format", choice("text", "markdown"), "How to write it; default: text.")


def shell_option() -> click.Option:
    """Whose completion script."""
    return option("--shell", choice(*SHELLS), "Which shell.")


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


def config_from(ctx: click.Context, environ: Mapping[str, str], *, app: str | None = None) -> Config:
    """The configuration that the parsed options of `run` or `doctor` ask for. Raises ConfigError.

    ``app`` names an application that is loaded already, and takes the place of --app.
    """
    # What is not given is left out, so that Config alone knows defaults.
    given = {
        name: value for name, value in ctx.params.items() if _source(ctx, name) != ParameterSource.DEFAULT
    }
    if app is not None:
        given["app"] = app
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
