"""The table of values in the chart's README, made from values.yaml and its comments: ``python -m helm.readme``.

Owns how comments are read. The lines right above a key document it; what is indented in them is an example, which stays
out of the table. ``# --- Title ---`` begins a section. Must not know what the chart does with a value.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import yaml

CHART: Final = Path(__file__).parent / "celery-exporter"
README: Final = CHART / "README.md"
VALUES: Final = CHART / "values.yaml"

_BEGIN: Final = "<!-- Made from values.yaml by `make chart`; edit the comments there. -->\n"
_END: Final = "<!-- End of what is made. -->\n"
_SECTION: Final = re.compile(r"# --- (.+) ---")


class Value(NamedTuple):
    """One documented value: its path in dots, its default, and what is said of it."""

    path: str
    default: object
    text: str


def values(text: str) -> Iterator[str | Value]:
    """The titles of sections and the values of a values.yaml, in order.

    Raises:
        ValueError: a value has no comment above it.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode), "values.yaml is no mapping"  # noqa: S101 - of our own file
    lines = text.splitlines()
    titles = {number: found[1] for number, line in enumerate(lines) if (found := _SECTION.fullmatch(line))}
    for value, line in _below(root, "", lines):
        for number in sorted(number for number in titles if number < line):
            yield titles.pop(number)
        yield value


def _below(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[tuple[Value, int]]:
    for key, child in node.value:
        path = prefix + _shown_key(key.value)
        line = key.start_mark.line
        if (
            isinstance(child, yaml.MappingNode)
            and child.value
            and not child.flow_style
            and not _is_whole(path)
        ):
            yield from _below(child, f"{path}.", lines)
            continue
        text = _comment(lines, line)
        if not text:
            raise ValueError(f"values.yaml, line {line + 1}: {path} has no comment above it")
        yield Value(path, yaml.safe_load(yaml.serialize(child)), text), line


def _is_whole(path: str) -> bool:
    """Whether a value is Kubernetes' own type, which its parts need not be told of."""
    return path.endswith(("resources", "SecurityContext", "securityContext"))


def _shown_key(key: str) -> str:
    return key.replace(".", r"\.")


def _comment(lines: list[str], line: int) -> str:
    said: list[str] = []
    for above in reversed(lines[:line]):
        comment = above.strip()
        if not comment.startswith("#") or _SECTION.fullmatch(comment):
            break
        said.insert(0, comment.removeprefix("#").removeprefix(" "))
    return " ".join(part for part in said if not part.startswith(" "))


def table(text: str) -> str:
    """The values of a values.yaml as Markdown, a table for each section."""
    out: list[str] = []
    for entry in values(text):
        if isinstance(entry, str):
            out += ["", f"### {entry}", "", "| value | default | what it is |", "|---|---|---|"]
        else:
            default = json.dumps(entry.default).replace("|", r"\|")
            out.append(f"| `{entry.path}` | `{default}` | {entry.text.replace('|', chr(92) + '|')} |")
    return "\n".join(out).lstrip("\n") + "\n"


def with_table(readme: str, text: str) -> str:
    """The README with its table made anew."""
    head, _, rest = readme.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not end:
        raise ValueError("README.md has no place for the table")
    return f"{head}{_BEGIN}\n{table(text)}\n{_END}{tail}"


def main() -> None:
    """Write the table into the README."""
    made = with_table(README.read_text(encoding="utf-8"), VALUES.read_text(encoding="utf-8"))
    README.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
