"""From the options that were given to a Config.

An option is named after the field of Config that it sets; the fields of a part of Config carry the part's name before
theirs, such as ``broker_tls_ca_file``. A flag beats its variable, and what is not given is left to Config.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Final

import click
from click.core import ParameterSource

from celery_metrics_exporter.config import parse
from celery_metrics_exporter.config.config import BrokerTls, Config, EventQueue
from celery_metrics_exporter.errors import ConfigError

_EVENT_QUEUE: Final = "event_queue_"
_TLS: Final = "broker_tls_"
_DEFAULTS: Final[Mapping[str, object]] = {
    prefix + field.name: field.default
    for prefix, settings in (("", Config), (_EVENT_QUEUE, EventQueue), (_TLS, BrokerTls))
    for field in dataclasses.fields(settings)
    if field.default is not dataclasses.MISSING
}


def default_of(option: str) -> bool | str | tuple[str, ...] | None:
    """The default of the setting that the option of this name gives, as it is written on the command line."""
    match _DEFAULTS.get(option):
        case None | ():
            return None
        case bool(value):
            return value
        case float(seconds):
            return f"{seconds:g}s"
        case (float() | int(), *_) as bounds:
            return ", ".join(f"{bound:g}" for bound in bounds)
        case tuple(items):
            return tuple(str(item) for item in items)
        case value:
            return str(value)


def config_from(ctx: click.Context, *, app: str | None = None) -> Config:
    """The configuration that the parsed options of `run` or `doctor` ask for. Raises ConfigError.

    ``app`` names an application that is loaded already, and takes the place of --app.
    """
    source = ctx.get_parameter_source
    given = {name: value for name, value in ctx.params.items() if source(name) != ParameterSource.DEFAULT}
    if app is not None:
        given["app"] = app
    given["broker_url"] = _broker_url(ctx)
    given["transport_options"] = parse.parse_transport_options(given.get("transport_options", ()))
    if tls := _fields_of(BrokerTls, given, _TLS):
        given["tls"] = BrokerTls(**tls)
    given["event_queue"] = EventQueue(**_fields_of(EventQueue, given, _EVENT_QUEUE))
    return Config(**_fields_of(Config, given))


def _fields_of(settings: type, given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    names = (field.name for field in dataclasses.fields(settings))
    return {name: given[prefix + name] for name in names if prefix + name in given}


def _broker_url(ctx: click.Context) -> str | None:
    names = ("broker_url", "broker_url_file")
    url, file = (ctx.params[name] for name in names)
    by_flag = [ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names]
    if all(by_flag):
        raise ConfigError("--broker-url and --broker-url-file exclude each other: drop one of them")
    if url is not None and not by_flag[1]:
        return str(url).strip()
    if file is not None:
        return parse.read_broker_url(file)
    return os.environ.get("CELERY_BROKER_URL", "").strip() or None
