"""What clients accept: which format a page has, and whether it is compressed."""

import pytest

from celery_metrics_exporter.exposition.accept import best_format, gzip_is_best
from celery_metrics_exporter.exposition.text import Encoder

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8"

#: What the scrape manager sends (scrape/scrape.go, acceptHeader; config/config.go, ScrapeProtocolsHeaders).
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_NATIVE = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
    + PROMETHEUS_3
)
PROMETHEUS_2_26 = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS_3, f"{OPENMETRICS}; escaping=allow-utf-8"),
        (PROMETHEUS_3_NATIVE, f"{OPENMETRICS}; escaping=allow-utf-8"),
        (PROMETHEUS_2_26, TEXT),
        ("application/openmetrics-text;version=2.0.0", f"{OPENMETRICS}; escaping=underscores"),
        ("application/openmetrics-text;version=9.9.9;escaping=dots", f"{OPENMETRICS}; escaping=dots"),
        ("application/openmetrics-text;version=1.0", f"{OPENMETRICS}; escaping=underscores"),
        ("application/openmetrics-text;version=latest", f"{OPENMETRICS}; escaping=underscores"),
        ("application/openmetrics-text;version=0.0.1", f"{OPENMETRICS}; escaping=underscores"),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", TEXT),
        (
            "application/openmetrics-text;version=2.0.0,text/plain;version=1.0.0;q=0.1",
            f"{TEXT_1}; escaping=underscores",
        ),
        ("application/openmetrics-text;version=2.0.0,*/*;q=0.1", TEXT),
        (
            "application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=1.0.0;q=0.5",
            f"{OPENMETRICS}; escaping=underscores",
        ),
        ('application/openmetrics-text;version="1.0.0"', f"{OPENMETRICS}; escaping=underscores"),
        ("APPLICATION/OpenMetrics-Text ; Version=1.0.0", f"{OPENMETRICS}; escaping=underscores"),
        ("text/plain;q=0.2,application/openmetrics-text;q=0.1", TEXT),
        ("text/plain;q=0.1,application/openmetrics-text;q=0.2", OPENMETRICS),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=0,*/*", TEXT),
        ("application/openmetrics-text ; Q = 0.000 , text/plain", TEXT),
        ("application/openmetrics-text;version=2.0.0;q=0", TEXT),
        ("text/plain;q=0,*/*", OPENMETRICS),
        (
            "text/plain;q=0,application/openmetrics-text;version=3;q=0.1",
            f"{OPENMETRICS}; escaping=underscores",
        ),
        ("*/*;q=0", TEXT),
        ("application/openmetrics-text;q=high", OPENMETRICS),
        ("application/openmetrics-text;q=", OPENMETRICS),
        ("application/openmetrics-text;q=-1", OPENMETRICS),
        ("application/openmetrics-text;q=nan,text/plain;q=7", OPENMETRICS),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        (",;,=,;q=0;q,a/b/c;;", TEXT),
    ],
)
def test_format_is_the_best_that_we_write(accept: str, content_type: str) -> None:
    """Weights order the formats, a weight of 0 refuses one, and a version that we do not write gets one that we do."""
    assert Encoder().choose(accept)[1] == content_type
    assert Encoder().choose(best_format(accept))[1] == content_type


@pytest.mark.parametrize(
    ("accept_encoding", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.001", True),
        ("gzip, deflate, br, zstd", True),
        ("gzip;q=0", False),
        ("gzip ; Q = 0.000, deflate", False),
        ("gzip;q=0, *", False),
        ("*", False),
        ("*;q=0", False),
        ("gzip, *;q=0", True),
        ("gzip, identity;q=0", True),
        ("identity;q=0", True),
        ("identity;q=0, *", True),
        ("identity;q=0, *;q=0.5", True),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("identity, gzip", True),
        ("gzip;q=yes", True),
        ("gzip;q=0.0x", True),
        ("deflate", False),
    ],
)
def test_page_is_compressed_for_who_likes_it(accept_encoding: str, *, wanted: bool) -> None:
    """gzip is used where the client likes it as well as no compression, or refuses to do without."""
    assert gzip_is_best(accept_encoding) is wanted
