"""What users set of the metrics of a worker: options of `celery worker`, their variables, arguments of ``install``.

A flag beats its variable. A worker that is not started by the command line has the variables alone. This module is
imported wherever a project is imported, so that the parsers are imported when there is something to parse.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import click

from celery_metrics_exporter.errors import ConfigError

ENV_PREFIX: Final = "CELERY_EXPORTER_WORKER_"
DEFAULT_ADDRESS: Final = ":9809"
#: A longer linger is a mistake: the worker would not end.
MAX_LINGER_SECONDS: Final = 3600.0

_TRUE: Final = ("1", "true", "t", "yes", "y", "on")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one worker.

    Attributes:
        enabled: whether it serves metrics at all.
        addresses: where it listens, as text.
        port_file: gets the ports that it listens on, one a line; None for no file.
        linger: seconds for which it still serves after its last task.
    """

    enabled: bool = True
    addresses: tuple[str, ...] = (DEFAULT_ADDRESS,)
    port_file: str | None = None
    linger: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What ``install`` may be told of the metrics; None: as the exporter has it by default.

    Attributes:
        runtime_buckets: upper bounds in seconds of the histogram of run times ...
        wait_buckets: ... and of those of waits.
        classic_histograms: whether classic buckets are shown.
        native_histograms: whether native ones are shown to a Prometheus that takes them ...
        native_histogram_schema: ... and their resolution, -4 to 8.
        exemplars: whether the latest task of each bucket is shown.
        max_series: limit of the label sets of a family.
        web_config_file: TLS and users, in Prometheus' format.
        app_tasks: whether each task of the application is shown from the start.
    """

    runtime_buckets: tuple[float, ...] | None = None
    wait_buckets: tuple[float, ...] | None = None
    classic_histograms: bool | None = None
    native_histograms: bool | None = None
    native_histogram_schema: int | None = None
    exemplars: bool | None = None
    max_series: int | None = None
    web_config_file: str | None = None
    app_tasks: bool | None = None

    def given(self) -> dict[str, Any]:
        """Those that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def named(self, text: str) -> str:
        """A message that names options of the exporter, with these names instead."""
        for name in asdict(self):
            for between in "-.":
                text = text.replace("--" + name.replace("_", between), name)
        return text


class WorkerOption(click.Option):
    """An option of `celery worker`, which shows it under this heading."""

    help_group = "Metrics"

    def __init__(self, flag: str, text: str, **settings: Any) -> None:
        variable = ENV_PREFIX + flag.removeprefix("--").replace("-", "_").upper()
        super().__init__([flag], help=text, envvar=variable, show_envvar=True, **settings)


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A text that one of our functions parses."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Parse a text; a refusal is click's."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ConfigError as error:
            self.fail(str(error), param, ctx)

    def split_envvar_value(self, rv: str) -> list[str]:
        """Split the variable of a repeatable option."""
        return _words(rv)


def worker_options() -> list[WorkerOption]:
    """The options of `celery worker`."""
    return [
        WorkerOption(
            "--metrics-listen-address",
            "Serve the metrics of this worker here; repeatable. Port 0 lets the system choose. "
            f"Default: {DEFAULT_ADDRESS}",
            type=_Parsed("address", _address),
            multiple=True,
        ),
        WorkerOption(
            "--metrics-port-file",
            "Write the ports of the metrics to this file, one a line; %n, %h and %d are the parts of the node name.",
            type=click.Path(),
        ),
        WorkerOption(
            "--metrics-linger",
            "Serve the metrics for this long after the last task, for a last scrape. Default: 0s",
            type=_Parsed("duration", _linger),
        ),
        WorkerOption("--no-metrics", "Serve no metrics.", is_flag=True),
    ]


def settings_from(given: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings, by the parsed options of a worker and, for those that it does not have, by the variables.

    Raises:
        ConfigError: a variable cannot be read.
    """

    def find(name: str, parse: Callable[[str], Any], default: Any) -> Any:
        if name in given:
            return given[name] or default
        text = environ.get(ENV_PREFIX + name.upper(), "").strip()
        try:
            return parse(text) if text else default
        except ConfigError as error:
            raise ConfigError(f"{ENV_PREFIX}{name.upper()}: {error}") from None

    return Settings(
        enabled=not find("no_metrics", lambda text: text.lower() in _TRUE, default=False),
        addresses=tuple(
            find(
                "metrics_listen_address",
                lambda text: [_address(word) for word in _words(text)],
                default=(DEFAULT_ADDRESS,),
            )
        ),
        port_file=find("metrics_port_file", str, default=None),
        linger=find("metrics_linger", _linger, default=0.0),
    )


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _address(text: str) -> str:
    from celery_metrics_exporter.config.parse import parse_listen_address  # noqa: PLC0415 - see above

    parse_listen_address(text)
    return text


def _linger(text: str) -> float:
    from celery_metrics_exporter.config.parse import parse_duration  # noqa: PLC0415 - see above

    seconds = parse_duration(text)
    if seconds > MAX_LINGER_SECONDS:
        raise ConfigError(f"{seconds:g} seconds is too long: write at most 1h")
    return seconds
