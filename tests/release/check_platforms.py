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
    return {row[0]: dict(zip(table[0][1:], row[1:], strict=True)) for row in table[1]}


def found(platform: Platform) -> dict[str, str]:
    """By column the Pythons for which pip finds a wheel of everything, in the words of the table."""
    good = {
        column: [one for one in VERSIONS if _has(names, platform, one)] for column, names in _COLUMNS.items()
    }
    return {
        column: "wheels"
        if pythons == VERSIONS
        else f"wheels for {', '.join(pythons)}"
        if pythons
        else "no wheels"
        for column, pythons in good.items()
    }


def _has(names: list[str], platform: Platform, python: str) -> bool:
    try:
        chosen(pins(names), platform, python)
    except NoWheel:
        return False
    return True


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
def test_wheels(platform: Platform) -> None:
    """Nobody on this platform needs a compiler, or the page says so."""
    assert told()[platform.name] == found(platform)


def test_the_page_names_all_platforms() -> None:
    """No row is left from before."""
    assert told().keys() == {platform.name for platform in PLATFORMS}
