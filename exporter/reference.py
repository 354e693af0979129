"""The metrics reference: the catalogue of families as text for a terminal or as Markdown for docs/metrics.md.

Owns how the reference looks. Must not know any particular metric: what it says comes from the declarations.
"""

from collections.abc import Iterable, Sequence

from exporter.collectors.family import Family

# Prefix of a family's name -> the section it stands in; the first that fits counts.
_SECTIONS = {
    "celery_task_": "Tasks",
    "celery_worker_": "Workers",
    "celery_queue_": "Queues",
    "celery_broker_": "Broker",
    "celery_exporter_": "Exporter",
    "": "Others",
}
_NOTE = (
    "<!-- Generated from the code by `make docs`; edit the declarations in exporter/collectors instead. -->"
)
_INTRODUCTION = (
    "`celery-exporter metrics` prints the same list. A histogram has the series `_bucket`, `_sum` and `_count`. "
    "Names ending in `_seconds` are in seconds, those ending in `_timestamp_seconds` are seconds since the epoch. "
    "The usual `process_*` and `python_*` metrics describe the exporter's own process."
)


def as_text(catalogue: Iterable[Family]) -> str:
    """Each family on a line of its own, with its labels and kind, its meaning indented below."""
    lines: list[str] = []
    for section, families in _sections(catalogue):
        lines += [*([""] if lines else []), section]
        for family in families:
            labels = f"{{{', '.join(family.labels)}}}" if family.labels else ""
            lines += [f"  {family.name}{labels} ({family.kind})", f"      {family.help}"]
    return "\n".join(lines) + "\n"


def as_markdown(catalogue: Iterable[Family]) -> str:
    """A page with a table for each section."""
    lines = [_NOTE, "", "# Metrics", "", _INTRODUCTION]
    for section, families in _sections(catalogue):
        lines += ["", f"## {section}", "", "| name | kind | labels | meaning |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(_cells(family))} |" for family in families]
    return "\n".join(lines) + "\n"


def _cells(family: Family) -> Sequence[str]:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return [f"`{family.name}`", family.kind, labels, family.help.replace("|", "\\|")]


def _sections(catalogue: Iterable[Family]) -> list[tuple[str, list[Family]]]:
    sections: dict[str, list[Family]] = {title: [] for title in _SECTIONS.values()}
    for family in catalogue:
        prefix = next(prefix for prefix in _SECTIONS if family.name.startswith(prefix))
        sections[_SECTIONS[prefix]].append(family)
    return [(title, families) for title, families in sections.items() if families]
