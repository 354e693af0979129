"""docs/architecture.md, and what CONTRIBUTING.md says of code: names exist; rooms and layers are as they say."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

import celery_metrics_exporter
from tests.docs.pages import ROOT, blocks

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = Path(celery_metrics_exporter.__file__).parent
_CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BOTH = PAGE + _CONTRIBUTING.partition("\n## Layout\n")[2].partition("\n## Tests\n")[0]
CODE = sorted(set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", BOTH, flags=re.DOTALL))))
PATHS = [code for code in CODE if re.fullmatch(r"[\w./]+/|[\w./]+\.(py|md|toml)", code)]
NAMES = [code for code in CODE if code not in PATHS and re.fullmatch(r"\w+(\.\w+)+", code)]


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def is_module(parts: list[str]) -> bool:
    """Whether these names lead to a module or a folder of the package."""
    path = PACKAGE.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_the_page_gives_paths_and_names() -> None:
    """The patterns above find them."""
    assert len(PATHS) > 20
    assert len(NAMES) > 20


@pytest.mark.parametrize("path", PATHS)
def test_paths_exist(path: str) -> None:
    """A folder or file of the package, or of the repository."""
    assert (PACKAGE / path).exists() or (ROOT / path).exists()


@pytest.mark.parametrize("name", NAMES)
def test_names_resolve(name: str) -> None:
    """A module, class, function or method, named by its place in the package."""
    parts = name.split(".")
    size = next(size for size in range(len(parts), 0, -1) if is_module(parts[:size]))
    found: object = importlib.import_module(".".join((celery_metrics_exporter.__name__, *parts[:size])))
    for part in parts[size:]:
        found = getattr(found, part)


def test_every_room_is_described() -> None:
    """Each folder, and each module in the package's root, stands in the first column of a row."""
    cells = re.findall(r"^\|([^|]*)\|", section("Rooms"), re.MULTILINE)
    described = {code for cell in cells for code in re.findall(r"`([^`]+)`", cell)}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    rooms = {f"{path.parent.relative_to(PACKAGE)}/" for path in PACKAGE.glob("*/**/__init__.py")}
    assert described == modules | rooms


def test_the_layers_are_those_that_are_checked() -> None:
    """Line by line the contract of import-linter in pyproject.toml."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    contracts = tools["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    (block,) = blocks(section("Layers"), "text")
    assert block.splitlines() == layers
