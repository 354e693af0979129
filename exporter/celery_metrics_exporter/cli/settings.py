"""How an option is made, and what the given ones make: a Config.

An option is named after the field of Config that it sets; the fields of a part of Config carry the part's name before
theirs, such as ``broker_tls_ca_file``. Every option of a setting has the variable CELERY_EXPORTER_<FLAG>. A flag beats
its variable, and what is not given is left to Config.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from celery_metrics_exporter.config import parse
from celery_metrics_exporter.config.config import BrokerTls, Config, EventQueue
from celery_metrics_exporter.config.transport_options import lay_over, transport_options
from celery_metrics_exporter.errors import ConfigError

ENV_PREFIX: Final = "CELERY_EXPORTER_"

_EVENT_QUEUE: Final = "event_queue_"
_TLS: Final = "broker_tls_"
_DEFAULTS: Final[Mapping[str, object]] = {
    prefix + field.name: field.default
    for prefix, settings in (("", Config), (_EVENT_QUEUE, EventQueue), (_TLS, BrokerTls))
    for field in dataclasses.fields(settings)
    if field.default is not dataclasses.MISSING
}


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A click type around one of our parse functions; a refusal becomes click's."""

    def __init__(self, name: str, parse_text: Callable[[str], object]) -> None:
        self.name = name
        self.metavar = name if "|" in name else name.upper()
        self._parse_text = parse_text

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Parse a text; what is no text was parsed before."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse_text(value)
        except ConfigError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    def split_envvar_value(self, rv: str) -> list[str]:
        """Split the variable of a repeatable option."""
        return parse.split_words(rv)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002 - likewise
        incomplete: str,
    ) -> list[CompletionItem]:
        """What a shell may offer: the words of a choice, or files."""
        if self.name == "file":
            return [CompletionItem(incomplete, type="file")]
        return [
            CompletionItem(word)
            for word in self.name.split("|")
            if "|" in self.name and word.startswith(incomplete)
        ]


def choice(*words: str) -> Parsed:
    """One of these words."""
    return Parsed("|".join(words), lambda text: parse.parse_choice(text, words))


def option(
    flag: str,
    kind: Parsed | None,
    text: str,
    *,
    setting: str = "",
    short: str = "",
    multiple: bool = False,
    default: str | None = None,
) -> click.Option:
    """An option with a value, or without a kind one that is on or off, ``--flag`` or ``--no-flag``.

    ``setting`` is the setting that it gives, where the flag is not called so.
    """
    identifier = re.sub(r"[.-]", "_", flag.removeprefix("--"))
    name = setting or identifier
    declared = f"{flag}/--no-{flag.removeprefix('--')}" if kind is None else flag
    return click.Option(
        [declared, name, *filter(None, [short])],
        type=kind,
        multiple=multiple,
        default=_default_of(name) if default is None else default,
        envvar=ENV_PREFIX + identifier.upper(),
        metavar=None if kind is None else kind.metavar,
        help=text,
        show_default=True,
        show_envvar=True,
    )


def switch(flag: str, text: str) -> click.Option:
    """An option that is on or off."""
    return option(flag, None, text)


def config_from(ctx: click.Context, *, app: str | None = None) -> Config:
    """The configuration that the parsed options of `run` or `doctor` ask for. Raises ConfigError.

    ``app`` names an application that is loaded already, and takes the place of --app.
    """
    source = ctx.get_parameter_source
    given = {name: value for name, value in ctx.params.items() if source(name) != ParameterSource.DEFAULT}
    if app is not None:
        given["app"] = app
    given["broker_url"] = _broker_url(ctx)
    given["transport_options"] = _transport_options(given)
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


def _transport_options(given: Mapping[str, Any]) -> dict[str, object]:
    options: dict[str, object] = {}
    if file := given.get("broker_transport_options_file"):
        # Only now: it needs yaml, which most configurations do not.
        from celery_metrics_exporter.config.transport_options_file import options_in  # noqa: PLC0415 - see above

        options = options_in(file)
    lay_over(options, transport_options(given.get("transport_options", ())))
    return options


def _default_of(setting: str) -> bool | str | tuple[str, ...] | None:
    """The default of a setting, as it is written on the command line."""
    match _DEFAULTS.get(setting):
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
