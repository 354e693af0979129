"""How an option is made: its type, its flag, its environment variable and its help.

Owns the rule that every option has the variable CELERY_EXPORTER_<NAME>, and how a default is shown. Must not know
which options there are.
"""

import dataclasses
import re
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from celery_metrics_exporter.config import parse
from celery_metrics_exporter.config.config import Config
from celery_metrics_exporter.errors import ConfigError

ENV_PREFIX = "CELERY_EXPORTER_"


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A click type around one of our parse functions; a refusal becomes click's."""

    def __init__(self, name: str, parse_text: Callable[[str], object]) -> None:
        self.name = name
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
        """Split a variable of an option that may be repeated."""
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
    flag: str, kind: Parsed, text: str, setting: str = "", *, short: str = "", multiple: bool = False
) -> click.Option:
    """An option with a value; ``setting`` is the field of Config whose default the help shows."""
    name = re.sub(r"[.-]", "_", flag.removeprefix("--"))
    return click.Option(
        [flag, name, *filter(None, [short])],
        type=kind,
        multiple=multiple,
        envvar=ENV_PREFIX + name.upper(),
        metavar=kind.name if "|" in kind.name else kind.name.upper(),
        help=_help(text, name, _default(setting)),
    )


def switch(flag: str, text: str, default: str = "") -> click.Option:
    """An option that is on or off, ``--flag`` or ``--no-flag``; None where neither is said."""
    name = re.sub(r"[.-]", "_", flag.removeprefix("--"))
    return click.Option(
        [f"{flag}/--no-{flag.removeprefix('--')}", name],
        default=None,
        envvar=ENV_PREFIX + name.upper(),
        help=_help(text, name, default),
    )


def action(flag: str, text: str) -> click.Option:
    """What to do this time only: no setting, so it has no variable."""
    return click.Option([flag], is_flag=True, help=text)


def _help(text: str, name: str, default: str) -> str:
    return f"{text}  [env: {ENV_PREFIX}{name.upper()}{f'; default: {default}' if default else ''}]"


def _default(setting: str) -> str:
    """The default of a setting as it could be written on the command line."""
    value = next((field.default for field in dataclasses.fields(Config) if field.name == setting), "")
    if isinstance(value, tuple):
        return ", ".join(f"{item:g}" if isinstance(item, int | float) else str(item) for item in value)
    return f"{value:g}s" if isinstance(value, float) else str(value)
