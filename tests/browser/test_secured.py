"""The status page behind TLS and users, as a browser sees it."""

from pathlib import Path

import pytest

from tests.browser.chromium import Chromium
from tests.browser.reading import REFRESHED_S
from tests.browser.tab import Tab
from tests.integration.servers import ExporterProcess, Valkey
from tests.waiting import wait_for
from tests.web_files import PASSWORD, WebFiles, users

pytestmark = pytest.mark.needs("valkey", "chromium")


def test_page_renews_itself_behind_a_login(valkey: Valkey, chromium: Chromium, tmp_path: Path) -> None:
    """Who has logged in once sees the page, and the script that renews it is let in too."""
    config = WebFiles.create(tmp_path).write_tls(more=users("reader"))
    options = ("--broker-url", valkey.url, "--web.config.file", str(config))
    with ExporterProcess(tmp_path / "exporter", options) as exporter:
        page = exporter.url.removesuffix("/metrics") + "/"
        with Tab(chromium, login=("reader", PASSWORD)) as tab:
            tab.open(page)
            wait_for(
                lambda: tab.text(".verdict").startswith("Connected"), timeout=REFRESHED_S, what="the verdict"
            )
            before = tab.text(".as-of")
            assert "As of " in before
            wait_for(lambda: tab.text(".as-of") != before, timeout=REFRESHED_S, what="a later page")
            assert tab.loads == 1
            assert set(tab.requests) == {page}
            assert tab.complaints == []
