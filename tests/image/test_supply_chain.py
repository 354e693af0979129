"""docs/supply-chain.md: its list is what pyproject.toml and its dependencies resolve to, nothing more or less."""

import re

import pytest
from packaging.utils import canonicalize_name

from tests.image.distributions import ON_OLDER_PYTHON, direct, licence_families, listed, needed, pinned


def test_the_list_is_complete_and_has_nothing_else() -> None:
    """Each distribution that is installed with the exporter has its row, and no row has none."""
    assert set(listed()) - ON_OLDER_PYTHON == set(needed()) - ON_OLDER_PYTHON
    assert set(listed()) >= ON_OLDER_PYTHON


def test_who_asks_for_it() -> None:
    """The second column names the exporter, or the distributions that ask."""
    for name, asked_by in needed().items():
        told = {part.strip() for part in listed()[name][0].split(",")}
        assert told == {asker or "us" for asker in asked_by}, name


def test_no_extra_of_a_dependency_is_asked_for() -> None:
    """An extra of kombu or Celery bounds redis-py, and pip would change that of a project we are installed beside."""
    assert not [str(requirement) for requirement in direct() if requirement.extras]


def test_every_row_is_filled() -> None:
    """A reason, a licence and a maintainer stand in each row."""
    assert len(direct()) < len(listed())
    for name, cells in listed().items():
        assert len(cells) == 4, name
        assert all(cells), name


@pytest.mark.parametrize("name", sorted(needed()))
def test_licence(name: str) -> None:
    """The licence is of the kind that the distribution itself declares."""
    told = set(re.findall(r"\b(MIT|BSD|Apache|PSF)\b", listed()[name][2]))
    assert told
    assert told == licence_families(name)


def test_every_version_is_pinned() -> None:
    """Nothing gets into the image in a version that constraints.txt does not name."""
    assert not [name for name in listed() if canonicalize_name(name) not in pinned()]
