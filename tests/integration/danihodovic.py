"""What the mixin of danihodovic/celery-exporter asks Prometheus: the queries of its dashboards, variables and alerts.

Source of the facts: celery-mixin in that repository. ``TODAY`` is its main branch of August 2026, the newest that we
have seen (celery-tasks-overview.libsonnet with queue waits, celery-tasks-by-task.libsonnet, util.libsonnet);
``EARLIER`` what earlier versions of them ask in another way, which users have imported. ``ALERTS`` are those of
prometheus_alerts.yaml and of its predecessor. There are no recording rules: prometheus_rules.yaml is empty.
"""

from collections.abc import Iterator
from typing import Final

_BASE: Final = 'cluster="$cluster", namespace="$namespace", job=~"$job"'
_DEFAULT: Final = f'{{{_BASE}, queue_name!~"None"}}'
_QUEUE: Final = f'{{{_BASE}, queue_name=~"$queue_name", queue_name!~"None"}}'
_TASK: Final = f'{{{_BASE}, queue_name=~"$queue_name", queue_name!~"None", name=~"$task", name!~"None"}}'
_OLD_QUEUE: Final = '{job="$job", queue_name=~"$queue_name"}'
_OLD_TASK: Final = '{job="$job", name=~"$task", queue_name=~"$queue_name"}'

_STATES: Final = ("succeeded", "failed", "sent", "received", "retried", "revoked", "rejected")
_OUTCOMES: Final = ("succeeded", "failed", "retried", "revoked", "rejected")
_QUANTILES: Final = ("0.50", "0.95", "0.99")

#: Variable -> the selector and the label that its values come from, in the order in which they are filled in.
VARIABLES: Final = {
    "cluster": ("celery_worker_up{}", "cluster"),
    "namespace": ('celery_worker_up{cluster="$cluster"}', "namespace"),
    "job": ('celery_worker_up{cluster="$cluster", namespace="$namespace"}', "job"),
    "queue_name": (f"celery_task_received_total{_DEFAULT}", "queue_name"),
    "task": (
        f'celery_task_received_total{{{_BASE}, queue_name=~"$queue_name", name!~"None"}}',
        "name",
    ),
}


def _total(state: str, selector: str, function: str, window: str) -> str:
    return f"{function}(celery_task_{state}_total{selector}[{window}])"


def _success(good: str, bad: str) -> str:
    return f"{good} / ({good} + {bad})"


def _quantile(quantile: str, family: str, selector: str, window: str, by: str, function: str = "rate") -> str:
    series = f"{function}(celery_task_{family}_bucket{selector}[{window}])"
    return f"histogram_quantile({quantile}, sum by ({by}) ({series}))"


def _overview() -> Iterator[str]:
    yield f"count(celery_worker_up{_DEFAULT} == 1)"
    yield f"sum(celery_worker_tasks_active{_DEFAULT})"
    yield f"count(group by (queue_name) (celery_queue_length{_QUEUE}))"
    yield f"sum(celery_queue_length{_QUEUE})"
    yield f"topk(10, sum by (queue_name) (celery_queue_length{_DEFAULT}))"
    yield f"sum by (queue_name) (celery_queue_length{_QUEUE})"
    yield f"sum({_total('received', _QUEUE, 'rate', '1h')})"
    good, bad = (f"sum({_total(state, _QUEUE, 'rate', '1h')})" for state in ("succeeded", "failed"))
    yield _success(good, bad)
    yield f"topk(10, sum by (name) ({_total('received', _QUEUE, 'rate', '1h')}))"
    yield f"topk(10, sum by (queue_name) ({_total('received', _DEFAULT, 'rate', '1h')}))"
    yield f"sum by (queue_name) ({_total('received', _QUEUE, 'rate', '$__rate_interval')})"
    for state in _OUTCOMES:
        yield f"sum({_total(state, _QUEUE, 'increase', '1h')})"
    for state in _STATES:
        yield f"sum({_total(state, _QUEUE, 'rate', '$__rate_interval')})"
    good, bad = (
        f"sum({_total(state, _QUEUE, 'rate', '$__rate_interval')})" for state in ("succeeded", "failed")
    )
    yield _success(good, bad)
    for quantile in _QUANTILES:
        yield _quantile(quantile, "queue_wait_time", _QUEUE, "$__rate_interval", "le")
        yield _quantile(quantile, "runtime", _QUEUE, "$__rate_interval", "le")
    yield from _table()


def _table() -> Iterator[str]:
    busiest = f"topk(40, sum by (job, name) ({_total('received', _QUEUE, 'rate', '24h')}))"
    among = f"and on (job, name) ({busiest})"
    yield busiest
    for state in ("succeeded", "failed", "retried"):
        yield f"round(sum by (job, name) ({_total(state, _QUEUE, 'increase', '24h')})) {among}"
    good, bad = (
        f"sum by (job, name) ({_total(state, _QUEUE, 'rate', '24h')})" for state in ("succeeded", "failed")
    )
    yield f"{_success(good, bad)} {among}"
    for quantile in ("0.50", "0.95"):
        yield f"{_quantile(quantile, 'runtime', _QUEUE, '24h', 'le, job, name')} {among}"
    yield f"{_quantile('0.95', 'queue_wait_time', _QUEUE, '24h', 'le, job, name')} {among}"
    yield f"round(sum by (job, name, exception) ({_total('failed', _QUEUE, 'increase', '24h')})) > 0"


def _by_task() -> Iterator[str]:
    yield f"round(sum by (name, exception) ({_total('failed', _TASK, 'increase', '1w')}))"
    for state in _STATES:
        yield f"sum by (name) (round({_total(state, _TASK, 'increase', '1w')}))"
        yield f"sum by (name) (round({_total(state, _TASK, 'increase', '$__rate_interval')}))"
        yield f"sum({_total(state, _QUEUE, 'increase', '6h')})"
    good, bad = (
        f"sum by (name) (round({_total(state, _TASK, 'increase', '1w')}))"
        for state in ("succeeded", "failed")
    )
    yield f"{_success(good, bad)} > -1"
    yield f"sum by (name, exception) (round({_total('failed', _TASK, 'increase', '$__rate_interval')}))"
    good, bad = (
        f"sum({_total(state, _TASK, 'rate', '$__rate_interval')})" for state in ("succeeded", "failed")
    )
    yield _success(good, bad)
    for quantile in _QUANTILES:
        yield _quantile(quantile, "runtime", _TASK, "$__rate_interval", "name, job, le", "irate")
    yield f"topk(10, sum by (queue_name) ({_total('received', _QUEUE, 'rate', '6h')}))"
    yield f"topk(10, sum by (name) ({_total('received', _QUEUE, 'rate', '6h')}))"


def _earlier() -> Iterator[str]:
    yield 'count(celery_worker_up{job="$job"} == 1)'
    yield 'sum(celery_worker_tasks_active{job="$job"})'
    yield f"sum by (job, queue_name) (celery_queue_length{_OLD_QUEUE})"
    yield f"sum(round({_total('received', _OLD_QUEUE, 'increase', '1w')}))"
    good, bad = (
        f"sum(round({_total(state, _OLD_QUEUE, 'increase', '1w')}))" for state in ("succeeded", "failed")
    )
    yield _success(good, bad)
    for by in ("", "by (name) "):
        run, runs = (
            f"sum {by}(rate(celery_task_runtime_{part}{_OLD_QUEUE}[1w]))" for part in ("sum", "count")
        )
        yield f"{run} / {runs} > 0"
    failed = _total("failed", _OLD_QUEUE, "increase", "1w")
    yield f"round(sum by (job, name) ({failed} > 0))"
    yield f"round(sum by (job, exception) ({failed}) > 0)"
    for state in _STATES:
        yield f"sum by (job) (round({_total(state, _OLD_QUEUE, 'increase', '$__range')})) > 0"
        yield f"sum(round({_total(state, _OLD_QUEUE, 'increase', '$__rate_interval')}))"
        yield f"sum by (name) (round({_total(state, _OLD_TASK, 'increase', '$__range')})) > 0"
    yield f"round(sum by (name, exception) ({_total('failed', _OLD_TASK, 'increase', '$__range')}) > 0)"
    for quantile in (*_QUANTILES, "0.999"):
        for selector, by in ((_OLD_QUEUE, "job, le"), (_OLD_TASK, "name, job, le")):
            series = f"irate(celery_task_runtime_bucket{selector}[$__rate_interval]) > 0"
            yield f"histogram_quantile({quantile}, sum by ({by}) ({series}))"


def _alerts() -> Iterator[tuple[str, str]]:
    chosen = '{job=~".*celery.*", queue_name!~"None", name!~"None"}'
    by = "by (job, namespace, queue_name, name)"
    bad, good = (
        f"sum {by} ({_total(state, chosen, 'increase', '10m')})" for state in ("failed", "succeeded")
    )
    yield "CeleryTaskHighFailRate", f"{bad} / ({bad} + {good}) * 100 > 5"
    length = 'celery_queue_length{job=~".*celery.*", queue_name!~"None"}'
    yield "CeleryHighQueueLength", f"sum by (job, namespace, queue_name) ({length}) > 100"
    yield "CeleryWorkerDown", 'celery_worker_up{job=~".*celery.*"} == 0'
    chosen = '{job=~"celery|celery-exporter", name!~"None"}'
    bad = f"sum by (job, namespace, name) ({_total('failed', chosen, 'increase', '10m')})"
    good = f"sum by (job, namespace, name) ({_total('succeeded', chosen, 'rate', '10m')})"
    yield "CeleryTaskHighFailRate, earlier", f"{bad} / {good} * 100 > 5"


#: Dashboard -> its queries.
TODAY: Final = {"celery-tasks-overview": tuple(_overview()), "celery-tasks-by-task": tuple(_by_task())}
EARLIER: Final = tuple(_earlier())
ALERTS: Final = dict(_alerts())

#: Metric -> its labels, of the main branch of August 2026 but for what it has from the target.
METRICS: Final = {
    **{f"celery_task_{state}_total": {"name", "queue_name", "hostname"} for state in (*_STATES, "started")},
    "celery_task_failed_total": {"name", "queue_name", "hostname", "exception"},
    **{
        f"celery_task_{family}_{part}": {"name", "queue_name", "hostname"}
        for family in ("runtime", "queue_wait_time")
        for part in ("bucket", "sum", "count")
    },
    "celery_worker_up": {"hostname"},
    "celery_worker_tasks_active": {"hostname"},
    "celery_queue_length": {"queue_name"},
    "celery_active_consumer_count": {"queue_name"},
    "celery_active_worker_count": {"queue_name"},
    "celery_active_process_count": {"queue_name"},
}
