"""Every rule of the lint fires where it should, and none where all is well."""

import pytest
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from tests.exposition_lint import RULES, lint_openmetrics, lint_text


class Good(Collector):
    """A collector of one family of each kind, as they should be."""

    def collect(self) -> tuple[Metric, ...]:
        """Give the families."""
        sent = CounterMetricFamily(
            "celery_task_sent", "Publications, one a task-sent event.", labels=["task"]
        )
        sent.add_metric(["a"], 3)
        sent.add_metric(['back\\slash "quote" é {},=#'], 0)
        seen = GaugeMetricFamily("celery_worker_last_seen_timestamp_seconds", "When it was heard, e.g. now.")
        seen.add_metric([], 1.7e9)
        wait = HistogramMetricFamily("celery_task_queue_wait_seconds", "Time in a queue.", labels=["queue"])
        wait.add_metric(["q"], buckets=[("0.1", 1), ("1.0", 2), ("+Inf", 2)], sum_value=0.7)
        info = InfoMetricFamily("celery_worker", "What a worker runs, as heartbeats tell.", labels=["worker"])
        info.add_metric(["celery@host"], {"version": "5.7.0"})
        empty = GaugeMetricFamily("celery_worker_load1", "Load average of one minute.", labels=["worker"])
        return sent, seen, wait, info, empty


def good_registry() -> CollectorRegistry:
    """Register good families and those that prometheus_client brings along."""
    registry = CollectorRegistry()
    registry.register(Good())
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def test_good_text_has_no_findings() -> None:
    """Nothing is found in good families nor in prometheus_client's own, in the text format."""
    assert lint_text(generate_latest(good_registry()).decode()) == []


def test_good_openmetrics_has_no_findings() -> None:
    """Nothing is found in good families nor in prometheus_client's own, in OpenMetrics."""
    text = openmetrics.generate_latest(good_registry()).decode()  # type: ignore[no-untyped-call]  # theirs
    assert lint_openmetrics(text) == []


def family(name: str, kind: str, *samples: str, says: str = "Something that is counted.") -> str:
    """Write a family in the text format; samples without a name get the family's."""
    lines = [sample if sample.startswith("celery_") else f"{name}{sample}" for sample in samples]
    return "".join(f"{line}\n" for line in (f"# HELP {name} {says}", f"# TYPE {name} {kind}", *lines))


UP = "celery_worker_up"
SENT = "celery_task_sent_total"
WAIT = "celery_task_wait_seconds"
FULL = ('_bucket{le="1.0"} 1', '_bucket{le="+Inf"} 2', "_count 2", "_sum 3")

BAD_TEXT = [
    ("prefix", family("worker_up", "gauge", " 1")),
    ("prefix", family("celery_workerUp", "gauge", " 1")),
    ("prefix", family("celery_worker__up", "gauge", " 1")),
    ("prefix", family("celery:worker_up", "gauge", " 1")),
    ("type", f"# HELP {UP} Something that is counted.\n{UP} 1\n"),
    ("type", family(UP, "untyped", " 1")),
    ("suffix", family("celery_task_sent", "counter", " 1")),
    ("suffix", family("celery_task_sent_total_total", "counter", " 1")),
    ("suffix", family(SENT, "gauge", " 1")),
    ("suffix", family("celery_worker_count", "gauge", " 1")),
    ("suffix", family("celery_worker_info", "counter", " 1")),
    ("suffix", family("celery_worker_info", "gauge", '{version="5"} 2')),
    ("unit", family("celery_task_run_milliseconds", "gauge", " 1")),
    ("unit", family("celery_task_limit_minutes", "gauge", " 1")),
    ("unit", family("celery_body_kilobytes_total", "counter", " 1")),
    ("unit", family("celery_task_seconds_running", "gauge", " 1")),
    ("unit", family("celery_worker_last_seen_timestamp", "gauge", " 1")),
    ("unit", family("celery_worker_timestamp_last_seconds", "gauge", " 1")),
    ("unit", family("celery_task_runtime", "gauge", " 1")),
    ("unit", family("celery_worker_memory", "gauge", " 1")),
    ("unit", family("celery_task_sizes", "histogram", *FULL)),
    ("help", f"# TYPE {UP} gauge\n{UP} 1\n"),
    ("help", family(UP, "gauge", " 1", says="")),
    ("help", family(UP, "gauge", " 1", says="Workers.")),
    ("help", family(UP, "gauge", " 1", says="Workers that are alive")),
    ("help", family(UP, "gauge", " 1", says="Workers that live. Dead ones are 0.")),
    ("help", family(UP, "gauge", " 1", says="Workers that live,\\nand dead ones.")),
    ("label names", family(UP, "gauge", '{workerName="a"} 1')),
    ("label names", family(UP, "gauge", '{__name="a"} 1')),
    ("label names", family(UP, "gauge", '{instance="a"} 1')),
    ("label names", family(UP, "gauge", '{exported_job="a"} 1')),
    ("label names", family(UP, "gauge", '{le="1"} 1')),
    ("label names", family(UP, "gauge", '{worker="a"} 1', '{host="a"} 1')),
    ("label values", family(UP, "gauge", '{worker="a\\nb"} 1')),
    ("label values", family(UP, "gauge", '{worker="a\rb"} 1')),
    ("label values", family(UP, "gauge", '{worker="a\x85b"} 1')),
    ("label values", family(UP, "gauge", '{worker="a\udcffb"} 1')),
    ("created", family("celery_task_sent_created", "gauge", " 1.7e9")),
    ("duplicates", family(UP, "gauge", '{a="1",b="2"} 1', '{b="2",a="1"} 0')),
    ("duplicates", family(UP, "gauge", '{a="1",a="2"} 1')),
    ("values", family(SENT, "counter", " -1")),
    ("values", family(SENT, "counter", " NaN")),
    ("values", family(WAIT, "histogram", *FULL[:3], "_sum NaN")),
    ("buckets", family(WAIT, "histogram", '_bucket{le="1.0"} 3', *FULL[1:])),
    ("buckets", family(WAIT, "histogram", FULL[0], *FULL[2:])),
    ("buckets", family(WAIT, "histogram", *FULL[:2], "_count 3", "_sum 3")),
    ("format", family(UP, "gauge", " 1") + "nonsense\n"),
    ("format", family(UP, "gauge", " one")),
    ("format", family(UP, "gauge", " 1").rstrip("\n")),
    ("format", family(UP, "gauge", " 1", "celery_worker_down 0")),
    ("format", family(UP, "gauge", " 1") + f"# TYPE {UP} gauge\n"),
    ("format", f"{UP} 1\n" + family(UP, "gauge")),
    ("format", family(UP, "gauge", " 1") + family(SENT, "counter", " 1") + family(UP, "gauge", '{a="1"} 1')),
]


@pytest.mark.parametrize(("rule", "text"), BAD_TEXT)
def test_bad_text_is_found(rule: str, text: str) -> None:
    """The rule finds what is wrong, and names where."""
    findings = lint_text(text)
    assert rule in {finding.rule for finding in findings}
    assert all(str(finding).endswith(f"[{finding.rule}]") for finding in findings)


@pytest.mark.parametrize(
    ("rule", "text"), [bad for bad in BAD_TEXT if bad[0] not in {"format", "type", "help"}]
)
def test_a_rule_finds_nothing_else(rule: str, text: str) -> None:
    """Apart from names that break two rules at once, only the rule that is broken is reported."""
    assert {finding.rule for finding in lint_text(text)} <= {rule, "suffix" if rule == "created" else rule}


def test_no_rule_is_untested() -> None:
    """Each rule of the table, and the format itself, has an example that breaks it."""
    assert {rule for rule, _ in BAD_TEXT} == {*RULES, "format"}


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("suffix", "# HELP celery_a_total Something counted.\n# TYPE celery_a_total counter\n"),
        ("format", "# HELP celery_a Something counted.\n# TYPE celery_a counter\ncelery_a 1\n"),
        ("format", "# HELP celery_a Something that is measured.\n# TYPE celery_a gauge\n# EOF\ncelery_a 1\n"),
        (
            "unit",
            "# HELP celery_a Something counted.\n# TYPE celery_a gauge\n# UNIT celery_a bytes\ncelery_a 1\n",
        ),
    ],
)
def test_bad_openmetrics_is_found(rule: str, text: str) -> None:
    """What is particular to OpenMetrics is checked too: counters' names, UNIT, the end."""
    assert rule in {finding.rule for finding in lint_openmetrics(text + "# EOF\n")}


def test_openmetrics_needs_its_end() -> None:
    """An answer that was cut short is found."""
    assert [finding.rule for finding in lint_openmetrics(family(UP, "gauge", " 1"))] == ["format"]


def test_wording_of_others_is_theirs() -> None:
    """HELP texts of prometheus_client's own families need no full stop, but they must be there."""
    own = family("process_open_fds", "gauge", " 1", says="Files")
    assert lint_text(own) == []
    assert [finding.rule for finding in lint_text(own.replace("Files", ""))] == ["help"]


def test_exemplars_and_timestamps_are_read() -> None:
    """Timestamps in both formats and OpenMetrics' exemplars are no disorder."""
    assert lint_text(family(SENT, "counter", " 1 1700000000000")) == []
    om = "# HELP celery_a Something counted.\n# TYPE celery_a counter\n"
    assert lint_openmetrics(om + 'celery_a_total 1 # {task_id="x"} 1 1700000000.5\n# EOF\n') == []
