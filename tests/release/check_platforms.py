"""Which platforms pip has wheels for, as docs/compatibility.md says. Started by `make release-check`."""

import pytest

from tests.checkout import ROOT
from tests.docs.pages import tables
from tests.image.distributions import needed
from tests.release.pythons import VERSIONS
from tests.release.wheels import PLATFORMS, NoWheel, Platform, chosen, of_extra, pins

#: The columns of the table, and what is installed.
_COLUMNS = {"the exporter": sorted(needed()), "its demo": sorted(of_extra("demo"))}


def told() -> dict[str, dict[str, str]]:
    """The page's table: platform -> column -> cell."""
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    (table,) = [(head, rows) for head, rows in tables(text) if head[0] == "platform"]
    return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[1]}


def found(platform: Platform, names: list[str]) -> str:
    """The Pythons for which pip finds a wheel of each of these, in the words of the table."""
    good = []
    for python in VERSIONS:
        try:
            chosen(pins(names), platform, python)
        except NoWheel:
            continue
        good.append(python)
    if good == VERSIONS:
        return "wheels"
    return f"wheels for {', '.join(good)}" if good else "no wheels"


@pytest.mark.parametrize("column", _COLUMNS)
@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
def test_wheels(platform: Platform, column: str) -> None:
    """Nobody on this platform needs a compiler, or the page says so."""
    assert told()[platform.name][column] == found(platform, _COLUMNS[column])


def test_the_page_names_all_platforms() -> None:
    """No row is left from before."""
    assert told().keys() == {platform.name for platform in PLATFORMS}
