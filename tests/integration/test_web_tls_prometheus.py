"""A real Prometheus scrapes the real exporter over TLS, with a client certificate and a password that change."""

from pathlib import Path

import pytest

from tests.integration.servers import ExporterProcess, Prometheus, Valkey, require
from tests.waiting import wait_for
from tests.web_files import HASH, PASSWORD, WebFiles, users

PATIENCE_S = 60.0
TLS = (
    "client_auth_type: RequireAndVerifyClientCert",
    "client_ca_file: ca.pem",
    "client_allowed_sans: [prometheus.example]",
    "min_version: TLS13",
)


@pytest.fixture
def files(tmp_path: Path) -> WebFiles:
    """Certificates, one for Prometheus among them."""
    files = WebFiles.create(tmp_path)
    client = files.authority.issue_cert("prometheus.example")
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "client-key.pem"))
    return files


def test_prometheus_scrapes_over_tls(files: WebFiles, tmp_path: Path) -> None:
    """It scrapes with the right certificate and password, over renewed certificates, not once its user is gone,
    and still when the file cannot be read any more, which it hears of.
    """
    require("valkey", "prometheus")
    path = files.write_tls(*TLS, more=users("prometheus"))
    settings = {
        "tls_config": {
            "ca_file": str(tmp_path / "ca.pem"),
            "cert_file": str(tmp_path / "client.pem"),
            "key_file": str(tmp_path / "client-key.pem"),
            "server_name": "localhost",
        },
        "basic_auth": {"username": "prometheus", "password": PASSWORD},
    }
    with (
        Valkey(tmp_path / "valkey") as valkey,
        ExporterProcess(
            tmp_path / "exporter", ("--broker-url", valkey.url, "--web.config.file", str(path))
        ) as exporter,
        Prometheus(tmp_path / "prometheus", [exporter.url], scrape_settings=settings) as prometheus,
    ):
        assert exporter.url.startswith("https://")

        def health() -> tuple[str, str]:
            targets = prometheus.api("targets")["activeTargets"]  # none right after the start
            return (targets[0]["health"], targets[0]["lastError"]) if targets else ("", "")

        wait_for(lambda: health() == ("up", ""), timeout=PATIENCE_S, what=lambda: f"a scrape: {health()}")
        files.renew()
        before = prometheus.value("scrape_samples_scraped")
        assert before
        files.write_tls(*TLS, more=users("somebody-else"))
        wait_for(
            lambda: health() == ("down", "server returned HTTP status 401 Unauthorized"),
            timeout=PATIENCE_S,
            what=lambda: f"a refused scrape: {health()}",
        )
        files.write_tls(*TLS, more=users("prometheus"))
        wait_for(lambda: health() == ("up", ""), timeout=PATIENCE_S, what=lambda: f"a scrape: {health()}")
        told = "celery_exporter_web_config_last_reload_successful"
        assert prometheus.value(told) == 1
        path.write_text("unknown_key: 1\n", encoding="utf-8")
        wait_for(lambda: prometheus.value(told) == 0, timeout=PATIENCE_S, what="a refused file that is told")
        assert health() == ("up", "")
        assert "cannot use the changed web configuration" in exporter.stderr
        assert HASH not in exporter.stderr
        assert PASSWORD not in exporter.stderr
