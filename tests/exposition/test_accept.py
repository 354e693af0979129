"""What clients accept: which format a page has, and whether it is compressed."""

from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
MESSAGES = PROTOBUF.replace("; ", ";")
PROMETHEUS_3_NATIVE = (
    f"{MESSAGES};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
#: From 2.49 on the order is configured (scrape_protocols); the weights follow it.
PROMETHEUS_2_49 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2_49_NATIVE = (
    f"{MESSAGES};q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,"
    "application/openmetrics-text;version=0.0.1;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
#: From 2.40 to 2.48 (scrape/scrape.go, scrapeAcceptHeader and scrapeAcceptHeaderWithProtobuf).
PROMETHEUS_2_40 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_40_NATIVE = (
    f"{MESSAGES},application/openmetrics-text;version=1.0.0;q=0.8,"
    "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
#: Of Prometheus 1, and of Telegraf to this day.
PROMETHEUS_1 = f"{MESSAGES};q=0.7,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
PROMETHEUS_2_26 = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS_3, f"{OPENMETRICS}; escaping=allow-utf-8"),
        (PROMETHEUS_3_NATIVE, PROTOBUF),
        (PROMETHEUS_2_49, f"{OPENMETRICS}; escaping=underscores"),
        (PROMETHEUS_2_49_NATIVE, PROTOBUF),
        (PROMETHEUS_2_40, f"{OPENMETRICS}; escaping=underscores"),
        (PROMETHEUS_2_40_NATIVE, PROTOBUF),
        (PROMETHEUS_1, PROTOBUF),
        (f"text/plain;version=0.0.4;q=0.5,{MESSAGES};q=0.4,*/*;q=0.3", TEXT),
        (f"text/plain,{MESSAGES}", TEXT),
        (f"{MESSAGES},text/plain", PROTOBUF),
        (f"{MESSAGES};q=0,*/*", TEXT),
        ("application/vnd.google.protobuf", PROTOBUF),
        ('Application/VND.google.Protobuf ; Encoding="delimited"; q=0.5', PROTOBUF),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", TEXT),
        ("application/vnd.google.protobuf;proto=another.Message;encoding=delimited,*/*;q=0.1", TEXT),
        ("text/*;q=0,*/*", OPENMETRICS),
        ("text/*;q=0,application/openmetrics-text;q=0,*/*", PROTOBUF),
        ("application/*", OPENMETRICS),
        ("text/plain;q=0.1,*/*", OPENMETRICS),
        ("text/plain;q=0.1,text/plain;version=0.0.4,*/*;q=0.5", TEXT),
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


#: Ranges that mean one of the formats each, from the closest one to the widest.
MEANS: Final[Mapping[str, tuple[str, ...]]] = {
    TEXT: ("text/plain;version=0.0.4", "text/plain", "text/*", "*/*"),
    OPENMETRICS: (
        "application/openmetrics-text;version=1.0.0",
        "application/openmetrics-text",
        "application/*",
        "*/*",
    ),
    PROTOBUF: (MESSAGES, "application/vnd.google.protobuf", "application/*", "*/*"),
}
RANGES = st.sampled_from(
    sorted({each for found in MEANS.values() for each in found} | {"image/png", "text/csv"})
)


@given(
    st.lists(st.tuples(RANGES, st.integers(0, 1000)), min_size=1, max_size=6, unique_by=lambda one: one[0])
)
def test_no_format_is_liked_better(ranges: list[tuple[str, int]]) -> None:
    """Of all formats the chosen one has the highest weight by the closest range that names it; none is refused."""
    weights = dict(ranges)
    accept = ", ".join(f"{name};q={weight / 1000:.3f}" for name, weight in ranges)
    liked = {
        form: next((weights[each] for each in means if each in weights), 0) for form, means in MEANS.items()
    }
    chosen = Encoder().choose(accept)[1].replace("; escaping=underscores", "")
    if any(liked.values()):
        assert liked[chosen] == max(liked.values()), accept
    elif weights.get("application/openmetrics-text"):
        assert chosen == OPENMETRICS
    else:
        assert chosen == TEXT


PARTS = st.sampled_from(
    [
        *',;=*/ \t"q.019',
        "text",
        "plain",
        "application",
        "version",
        "1.0.0",
        "escaping",
        "openmetrics-text",
        MESSAGES,
    ]
)


@given(st.lists(PARTS | st.characters(codec="latin-1"), max_size=30).map("".join))
def test_any_header_has_an_answer(accept: str) -> None:
    """Whatever stands in the header, the page has one of the formats, and the choice stays when it is made again."""
    form, packed = best_format(accept), gzip_is_best(accept)
    content_type = Encoder().choose(accept)[1]
    assert content_type.startswith(("text/plain; ", "application/openmetrics-text; ", PROTOBUF))
    assert Encoder().choose(form)[1] == content_type
    assert isinstance(packed, bool)


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
