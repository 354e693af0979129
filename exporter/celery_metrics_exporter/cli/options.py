"""The options of the commands: their flags, environment variables, defaults and help."""

from __future__ import annotations

from typing import Final

import click

from celery_metrics_exporter import __version__
from celery_metrics_exporter.cli.settings import Parsed, choice, option, switch
from celery_metrics_exporter.config import parse
from celery_metrics_exporter.config.config import LOG_FORMATS, LOG_LEVELS, RECEIVERS

#: How long the doctor listens: several heartbeats of a worker, which come every 2 s.
DOCTOR_WAIT_SECONDS: Final = 10.0

_TEXT: Final = Parsed("text", str)
_FILE: Final = Parsed("file", parse.readable_file)
DURATION: Final = Parsed("duration", parse.parse_duration)
_BUCKETS: Final = Parsed("seconds,...", parse.parse_buckets)
_COUNT: Final = Parsed("number", parse.parse_count)


def run_options() -> dict[str, list[click.Parameter]]:
    """The options of `run`, by the section of the help that they stand in."""
    return {
        "Broker": [
            option("--broker-url", _TEXT, "URL of the broker; CELERY_BROKER_URL is read last."),
            option("--broker-url-file", Parsed("file", str), "File that holds the URL, to keep it secret."),
            option(
                "--app",
                Parsed("module:app", parse.parse_app),
                "Celery application to take the broker and settings from, such as proj.celery:app.",
                short="-A",
            ),
            switch("--app-tasks", "Import the application's tasks, to show each from the start."),
            option(
                "--broker-transport-option",
                Parsed("key=value", str),
                "Option of kombu's transport, such as master_name=main, or several as a JSON object; repeatable.",
                setting="transport_options",
                multiple=True,
            ),
            option(
                "--broker-transport-options-file",
                Parsed("file", str),
                "File of such options in YAML or JSON, to keep secrets in; --broker-transport-option beats it.",
            ),
            option(
                "--broker-tls-ca-file",
                _FILE,
                "Certificate authorities (PEM) to trust instead of the system's.",
            ),
            option("--broker-tls-cert-file", _FILE, "Client certificate (PEM)."),
            option("--broker-tls-key-file", _FILE, "Key of the client certificate (PEM)."),
            option(
                "--broker-tls-server-name",
                _TEXT,
                "Name that the broker's certificate must carry.",
            ),
            switch("--broker-tls-verify", "Verify the broker's certificate."),
        ],
        "Events": [
            switch("--events", "Receive events; without them only the lengths of queues are read."),
            option("--event-queue-prefix", _TEXT, "Prefix of our event queue's name."),
            option("--event-queue-ttl", DURATION, "Time that an event may wait in our queue."),
            option(
                "--event-queue-expires", DURATION, "Time after which the broker deletes our unused queue."
            ),
            switch("--event-queue-exclusive", "Let no other connection use our queue."),
            switch("--event-queue-durable", "Keep our queue, and on RabbitMQ its events, while we are away."),
            option(
                "--event-exchange",
                _TEXT,
                "Exchange that workers publish events to.",
                setting="event_queue_exchange",
            ),
            option(
                "--event-serializer", _TEXT, "Serializer of the events.", setting="event_queue_serializer"
            ),
            option(
                "--event-routing-key",
                _TEXT,
                "Routing key of the events to receive, such as task.#; # means all.",
                setting="event_queue_routing_key",
            ),
            option(
                "--receiver",
                choice(*RECEIVERS),
                "How to receive: the fastest way for the broker, or kombu's for every broker.",
            ),
        ],
        "Workers": [
            switch("--enable-events", "Keep asking workers to send task events."),
            switch("--inspect-workers", "Ask workers for their pool and queues."),
            option("--inspect-interval", DURATION, "Time between two inspections of workers."),
            switch(
                "--recover",
                "After the start and after a gap, ask workers for the tasks that they hold and run.",
            ),
            option(
                "--control-exchange",
                _TEXT,
                "Name of remote control, as in the application's control_exchange.",
            ),
            switch("--remote-control", "Send remote control commands; without it workers are asked nothing."),
        ],
        "Queues": [
            option(
                "--queue", _TEXT, "Queue to show in any case; repeatable.", setting="queues", multiple=True
            ),
            option(
                "--queue-include", _TEXT, "Shell pattern of the queues to show; repeatable.", multiple=True
            ),
            option(
                "--queue-exclude",
                _TEXT,
                "Shell pattern of the queues to leave out; repeatable.",
                multiple=True,
            ),
            switch("--queue-priorities", "Show lengths by priority too (Redis)."),
            option("--sample-interval", DURATION, "Time between two samples of the queues."),
            option("--management-url", _TEXT, "RabbitMQ's management API, such as http://host:15672."),
        ],
        "Metrics": [
            option("--runtime-buckets", _BUCKETS, "Upper bounds of the runtime histogram, in seconds."),
            option("--wait-buckets", _BUCKETS, "Upper bounds of the waiting time histograms, in seconds."),
            switch(
                "--classic-histograms",
                "Show the classic buckets of histograms; without them text has count and sum.",
            ),
            switch("--native-histograms", "Show native histograms to a Prometheus that takes them."),
            option(
                "--native-histogram-schema",
                Parsed("number", parse.parse_schema),
                "Their resolution: 2^number buckets for each power of two, -4 to 8.",
            ),
            switch("--exemplars", "Show the latest task of each bucket, and its trace where that is known."),
            option("--worker-timeout", DURATION, "Silence after which a worker is down."),
            option("--worker-retention", DURATION, "How long a lost worker is shown."),
            option("--max-in-flight", _COUNT, "Most tasks to remember at once."),
            option("--max-series", _COUNT, "Most label sets of a family; more are counted in `other`."),
        ],
        "Serving": [
            listen_option(),
            option("--web.telemetry-path", _TEXT, "Path of the metrics.", setting="telemetry_path"),
            web_config_option(),
        ],
        "Logging": [
            option("--log.level", choice(*LOG_LEVELS), "Lowest level to log."),
            option("--log.format", choice(*LOG_FORMATS), "Format of a log line."),
        ],
    }


def listen_option() -> click.Option:
    """Where to serve, for `run`, `demo` and `healthcheck`."""
    kind = Parsed("host:port", parse.parse_listen_address)
    return option(
        "--web.listen-address", kind, "Address to serve on; repeatable.", setting="listen", multiple=True
    )


def web_config_option() -> click.Option:
    """How to serve securely, for `run` and `healthcheck`."""
    return option("--web.config.file", _FILE, "TLS and users, in the format of Prometheus' exporter-toolkit.")


def check_option() -> click.Option:
    """Check the settings and end."""
    text = "Check all settings without connecting to anything, then end."
    return click.Option(["--check-config"], is_flag=True, help=text)


def doctor_options() -> dict[str, list[click.Parameter]]:
    """The options of `doctor`, which takes those of `run` too, so that it checks what `run` would do."""
    return {
        "Doctor": [
            option(
                "--wait",
                DURATION,
                "How long to wait for workers and events.",
                default=f"{DOCTOR_WAIT_SECONDS:g}s",
            ),
            click.Option(["--json"], is_flag=True, help="Write the findings as JSON."),
            click.Option(
                ["--color/--no-color"], default=None, show_default="on a terminal", help="Use colours."
            ),
        ],
        **run_options(),
    }


def version_option() -> click.Option:
    """Print the version and end."""

    def show(ctx: click.Context, _: click.Parameter, value: object) -> None:
        if value:
            click.echo(f"celery-exporter {__version__}")
            ctx.exit()

    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show the version.",
    )
