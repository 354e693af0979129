"""What `make release-check` has built, for the check_*.py."""

import os
from pathlib import Path

import pytest

from tests.integration.conftest import valkey
from tests.release.artifacts import Artifacts

__all__ = ["valkey"]

#: Names the folder with what was built.
VARIABLE = "RELEASE_UNDER_CHECK"


@pytest.fixture(scope="session")
def artifacts() -> Artifacts:
    """What was built."""
    folder = os.environ.get(VARIABLE)
    assert folder, "started by `make release-check`, which builds the release first"
    return Artifacts(Path(folder))
