"""The chart's README: its table is what values.yaml says, and its examples are values that the chart takes."""

import re
from typing import Any

import pytest
import yaml

from helm.readme import README, VALUES, Value, table, values, with_table
from tests.helm.chart import template

TEXT = VALUES.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_table_is_fresh() -> None:
    """`make chart` would change nothing."""
    readme = README.read_text(encoding="utf-8")
    assert readme == with_table(readme, TEXT), "run: make chart"


def leaves(given: Any, path: str = "") -> set[str]:
    """The paths of values that are no maps, and of empty maps."""
    if not isinstance(given, dict) or not given:
        return {path}
    return set().union(*(leaves(value, f"{path}.{key}" if path else key) for key, value in given.items()))


def test_every_value_is_in_the_table() -> None:
    """Each leaf of values.yaml, or a map above it that is told of as a whole."""
    told = {entry.path.replace("\\", "") for entry in values(TEXT) if isinstance(entry, Value)}
    for leaf in leaves(yaml.safe_load(TEXT)):
        assert any(leaf == path or leaf.startswith(f"{path}.") for path in told), leaf
    assert len(told) > 150


def test_a_table_tells_defaults_and_comments() -> None:
    """Sections become headings, examples in comments are left out, a pipe breaks no row."""
    text = """# What the file is.

# --- First ---

# The a,
# or b | c.
#   example: 1
a: {b: 1}
d:
  # Of e.
  e.f: "x"
"""
    assert table(text).splitlines() == [
        "### First",
        "",
        "| value | default | what it is |",
        "|---|---|---|",
        r"| `a` | `{\"b\": 1}` | The a, or b \| c. |".replace(r"\"", '"'),
        r'| `d.e\.f` | `"x"` | Of e. |',
    ]


def test_a_value_without_a_comment_is_refused() -> None:
    """Nothing can be added in silence."""
    with pytest.raises(ValueError, match="line 3: b has no comment"):
        table("# Of a.\na: 1\nb: 2\n")


@pytest.mark.needs("helm")
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_taken(example: str) -> None:
    """The YAML of the README renders."""
    assert template(yaml.safe_load(example))


def _commented(text: str) -> list[str]:
    """The examples in the comments of values.yaml, as values."""
    found, block, key_path = [], [], ""
    for line in text.splitlines():
        stripped = line.strip()
        if re.match(r"#   +", stripped):
            block.append(stripped[4:])
        elif block and not stripped.startswith("#"):
            indent = len(line) - len(line.lstrip())
            name = stripped.partition(":")[0]
            body = "\n".join(f"  {' ' * indent}{part}" for part in block)
            found.append(f"{key_path if indent else ''}{' ' * indent}{name}:\n{body}\n")
            block = []
        if re.match(r"[a-zA-Z]+:$", line):
            key_path = f"{line}\n"
    return found


@pytest.mark.needs("helm")
@pytest.mark.parametrize("example", _commented(TEXT))
def test_examples_in_comments_are_taken(example: str) -> None:
    """So does what the comments of values.yaml show."""
    assert template(yaml.safe_load(example))
