"""Fixtures of the browser tests: one Chromium for all, and the servers of the integration tests."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Chromium
from tests.integration.conftest import (  # noqa: F401 - pytest finds them here by name
    receiver,
    start_exporter,
    valkey,
)
from tests.integration.servers import require


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The run's browser; each test opens tabs of its own."""
    require("chromium")
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser
