"""How the commands look to a user: default command, sections of the help, wording of bad usage."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import SequenceMatcher
from functools import partial
from typing import Final

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from celery_metrics_exporter.cli.settings import ENV_PREFIX
from celery_metrics_exporter.config.parse import shown
from celery_metrics_exporter.errors import ConfigError

_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
_FLAG_WIDTH: Final = 24  # lets the longest variable fit into a line of 80 characters
_ENDING: Final = ("-h", "--help", "--version")
_URL_ALONE: Final = "an argument stands alone: write --broker-url before the broker's URL"

# Kubernetes describes the services of a namespace in the environment, and one is likely called celery-exporter
# (kubernetes/kubernetes, pkg/kubelet/envvars, FromServices).
_OF_KUBERNETES: Final = re.compile(
    r".*(_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=.*"
    r"|.*_PORT=(tcp|udp|sctp)://.*",
    re.DOTALL,
)
#: Workers that report for themselves may share the environment (``in_worker.settings``).
_OF_WORKERS: Final = re.compile(r"CELERY_EXPORTER_WORKER_(METRICS_\w+|NO_METRICS)")


class Command(click.Command):
    """A command with the sections of its options; `run` gets the parsed context and returns the exit code."""

    def __init__(
        self,
        name: str,
        run: Callable[[click.Context], int],
        *,
        summary: str,
        sections: Mapping[str, list[click.Parameter]],
        others: Iterable[click.Parameter] = (),
        details: str = "",
    ) -> None:
        super().__init__(
            name,
            short_help=summary,
            params=[*(param for params in sections.values() for param in params), *others],
            help=f"{summary}\n\n{details}",
            context_settings={**_SETTINGS, "allow_extra_args": True},
        )
        self._run = run
        self._sections = sections

    def invoke(self, ctx: click.Context) -> int:
        """Run the command, unless arguments are left over: none takes any."""
        if ctx.args:
            raise ConfigError(self._stray(ctx.args[0], ctx))
        return self._run(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by sections."""
        listed = {id(param) for params in self._sections.values() for param in params}
        others = [param for param in self.get_params(ctx) if id(param) not in listed]
        for title, params in {**self._sections, "Others": others}.items():
            with formatter.section(title):
                records = [record for param in params if (record := param.get_help_record(ctx))]
                formatter.write_dl(records, col_max=_FLAG_WIDTH)

    def _stray(self, argument: str, ctx: click.Context) -> str:
        if "://" in argument:
            return _URL_ALONE
        program = ctx.find_root().info_name
        if argument in getattr(ctx.find_root().command, "commands", ()):
            return f"the command comes first: write {program} {argument}, then its options"
        return f"unexpected argument {shown(argument)}: write --name value, see {program} {self.name} --help"


class Commands(click.Group):
    """The commands; arguments that begin with an option belong to the default one."""

    def __init__(
        self, name: str, default: Command, *others: Command, summary: str, version: click.Option
    ) -> None:
        super().__init__(
            name,
            commands=[default, *others],
            params=[version],
            help=summary,
            epilog=f"Options without a command belong to {default.name}:",
            context_settings=_SETTINGS,
        )
        self._default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command first where no command is named."""
        if ctx.resilient_parsing and not args:
            return super().parse_args(ctx, args)  # a shell asks what may come first
        if not args or (args[0].startswith("-") and args[0] not in _ENDING):
            args = [str(self._default.name), *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which ones there are."""
        if args[0] not in self.commands:
            if "://" in args[0]:
                raise ConfigError(_URL_ALONE)
            raise ConfigError(f"unknown command {shown(args[0])}: write one of {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What may come first: a command, or an option of the default one."""
        found = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            with click.Context(self._default, info_name=self._default.name, parent=ctx) as default:
                found += self._default.shell_complete(default, incomplete)
        return list({item.value: item for item in found}.values())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the default command below the commands."""
        super().format_epilog(ctx, formatter)
        with click.Context(self._default, info_name=self._default.name, parent=ctx) as default:
            self._default.format_options(default, formatter)

    def options(self) -> list[click.Parameter]:
        """The options of all commands."""
        return [param for command in self.commands.values() for param in command.params]


def usage_line(error: click.UsageError | ConfigError, tree: Commands) -> str:
    """What to write instead, in one line; repeats what was given only where it cannot hold a password."""
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, click.NoSuchOption):
        nearest = (error.possibilities or [""])[0]
        instead = f"write {nearest}" if nearest else "see --help for the list"
        return f"unknown option {shown(error.option_name)}: {instead}"
    if isinstance(error, click.BadParameter) and error.param is not None and error.ctx is not None:
        param = error.param
        if error.ctx.get_parameter_source(param.name or "") == ParameterSource.ENVIRONMENT:
            name = str(param.envvar)
        else:
            name = max(param.opts, key=len)
        boolean = isinstance(param.type, type(click.BOOL))
        return f"{name}: {'write true or false' if boolean else error.message}"
    if isinstance(error, click.BadOptionUsage):
        # click does not say more than the name: a switch was given a value, or another option was given none.
        name = error.option_name
        values = {opt: param.metavar for param in tree.options() for opt in param.opts if param.metavar}
        if name in values:
            return f"{name} needs a value: write {name} {values[name]}"
        return f"{name} takes no value: write it alone"
    return error.format_message()


def unknown_variables(tree: Commands) -> dict[str, str]:
    """The variables with our prefix that no option reads, each with the name most like it that an option reads."""
    known = sorted({str(option.envvar) for option in tree.options() if option.envvar})
    return {
        name: max(known, key=partial(_likeness, name))
        for name, value in sorted(os.environ.items())
        if name.startswith(ENV_PREFIX)
        and name not in known
        and not _OF_WORKERS.fullmatch(name)
        and not _OF_KUBERNETES.fullmatch(f"{name}={value}")
    }


def _likeness(name: str, other: str) -> tuple[int, float]:
    """Shared words count most: LISTEN means WEB_LISTEN_ADDRESS, whatever is spelt more like it."""
    shared = set(name.split("_")) & set(other.split("_"))
    return len(shared), SequenceMatcher(None, name, other).ratio()
