"""The references: the list of metrics as text for a terminal or as docs/metrics.md, the options as docs/flags.md.

All that is said comes from the declarations of the metrics and options.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import click

from celery_metrics_exporter.collectors.family import Family

# Prefix of a family's name -> the section it stands in; the first that fits counts.
_SECTIONS: Final = {
    "celery_task_": "Tasks",
    "celery_worker_": "Workers",
    "celery_queue_": "Queues",
    "celery_broker_": "Broker",
    "celery_exporter_": "Exporter",
    "": "Others",
}
_NOTE: Final = "<!-- Generated from the code by `make docs`; edit the {} instead. -->"
_FLAGS_INTRODUCTION: Final = (
    "`celery-exporter --help` says the same; `celery -A proj exporter` takes the same flags. A flag beats its "
    "variable; an empty variable counts as absent; a variable of a repeatable flag holds several values, separated "
    "by spaces or commas, or a JSON list of them. Durations are `30s`, `5m`, `1h`, or seconds. What an application of "
    "`--app` says comes last; without a default in the table, Celery's holds."
)
_INTRODUCTION: Final = (
    "`celery-exporter metrics` prints the same list. A histogram has the series `_bucket`, `_sum` and `_count`; a "
    "[native](histograms.md#native-histograms) one is a single series with the name of the family. "
    "Names ending in `_seconds` are in seconds, those ending in `_timestamp_seconds` are seconds since the epoch. "
    "The usual `process_*` and `python_*` metrics describe the exporter's own process."
)


def as_text(catalogue: Iterable[Family]) -> str:
    """A text with a line for each family, its labels and kind, and its meaning indented below."""
    lines: list[str] = []
    for section, families in _sections(catalogue):
        lines += [*([""] if lines else []), section]
        for family in families:
            labels = f"{{{', '.join(family.labels)}}}" if family.labels else ""
            lines += [f"  {family.name}{labels} ({family.kind})", f"      {family.help}"]
    return "\n".join(lines) + "\n"


def as_markdown(catalogue: Iterable[Family]) -> str:
    """A page with a table for each section."""
    lines = [_NOTE.format("declarations in collectors/"), "", "# Metrics", "", _INTRODUCTION]
    for section, families in _sections(catalogue):
        lines += ["", f"## {section}", "", "| name | kind | labels | meaning |", "|---|---|---|---|"]
        for family in families:
            labels = ", ".join(f"`{label}`" for label in family.labels)
            meaning = family.help.replace("|", "\\|")
            lines.append(f"| `{family.name}` | {family.kind} | {labels} | {meaning} |")
    return "\n".join(lines) + "\n"


def options_as_markdown(sections: Mapping[str, Iterable[click.Parameter]]) -> str:
    """A page with a table for each section of options."""
    lines = [_NOTE.format("options in cli/options.py"), "", "# Flags", "", _FLAGS_INTRODUCTION]
    for section, params in sections.items():
        lines += ["", f"## {section}", "", "| flag | variable | default | meaning |", "|---|---|---|---|"]
        for option in params:
            if not isinstance(option, click.Option) or not option.envvar:
                raise ValueError(f"{option.name} is no option with a variable")
            flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
            meaning = (option.help or "").replace("|", "\\|")
            lines.append(f"| {flags} | `{option.envvar}` | {_default_cell(option)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _default_cell(option: click.Option) -> str:
    match option.default:
        case None:
            return ""
        case bool(is_on):
            return "`on`" if is_on else "`off`"
        case tuple(texts):
            return ", ".join(f"`{text}`" for text in texts)
        case text:
            return f"`{text}`"


def _sections(catalogue: Iterable[Family]) -> list[tuple[str, list[Family]]]:
    sections: dict[str, list[Family]] = {title: [] for title in _SECTIONS.values()}
    for family in catalogue:
        prefix = next(prefix for prefix in _SECTIONS if family.name.startswith(prefix))
        sections[_SECTIONS[prefix]].append(family)
    return [(title, families) for title, families in sections.items() if families]
