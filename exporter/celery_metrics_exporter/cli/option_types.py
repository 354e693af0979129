"""How an option is made: its type, its flag, its environment variable, its default and its help.

Every option of a setting has the variable CELERY_EXPORTER_<FLAG>.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import click
from click.shell_completion import CompletionItem

from celery_metrics_exporter.cli.settings import default_of
from celery_metrics_exporter.config import parse
from celery_metrics_exporter.errors import ConfigError

ENV_PREFIX: Final = "CELERY_EXPORTER_"


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
    kind: Parsed,
    text: str,
    *,
    setting: str = "",
    short: str = "",
    multiple: bool = False,
    default: str | None = None,
) -> click.Option:
    """An option with a value; ``setting`` is the setting that it gives, where the flag is not called so."""
    name = setting or _identifier(flag)
    return click.Option(
        [flag, name, *filter(None, [short])],
        type=kind,
        multiple=multiple,
        default=default_of(name) if default is None else default,
        envvar=ENV_PREFIX + _identifier(flag).upper(),
        metavar=kind.name if "|" in kind.name else kind.name.upper(),
        help=text,
        show_default=True,
        show_envvar=True,
    )


def switch(flag: str, text: str, *, setting: str = "") -> click.Option:
    """An option that is on or off, ``--flag`` or ``--no-flag``."""
    name = setting or _identifier(flag)
    return click.Option(
        [f"{flag}/--no-{flag.removeprefix('--')}", name],
        default=default_of(name),
        envvar=ENV_PREFIX + _identifier(flag).upper(),
        help=text,
        show_default=True,
        show_envvar=True,
    )


def _identifier(flag: str) -> str:
    return re.sub(r"[.-]", "_", flag.removeprefix("--"))
