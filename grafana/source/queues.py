"""Queues: what waits and since when, which workers take it, and when the queue will be empty."""

from grafana.source import limits, links, shared
from grafana.source.graphs import graph, graph_by, states
from grafana.source.histograms import quantile
from grafana.source.panels import CLOCK, COUNT, PER_SECOND, PLAIN, RATIO, SECONDS, Query, figure
from grafana.source.queries import RANGE, age, highest, leading, lowest, per_second, ratio, total
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet
from grafana.source.tables import Column, Key, listing

chosen = Selection("queue")

length = chosen("celery_queue_length")
oldest = chosen("celery_queue_oldest_message_timestamp_seconds")
workers = chosen("celery_queue_workers")
slots = chosen("celery_queue_pool_size")
unacked = chosen("celery_queue_unacked_messages")
sent = chosen("celery_task_sent_total")
received = chosen("celery_task_received_total")
waited = chosen.histogram("celery_task_queue_wait_seconds")
broker_up = chosen("celery_broker_up")
broker_unacked = chosen("celery_broker_unacked_messages")

#: Length divided by the decrease per second in 5 min: no sample for a queue that is empty, constant or growing, nor for
#: one that would need more than a day, whose decrease is chance.
_DRAIN = f"({total(length, 'queue')} > 0) / (-sum by (queue) (deriv({length}[5m])) > 0) < 86400"
_BUSY = ratio(
    f"sum by (queue) (avg_over_time({chosen('celery_task_in_progress')}[5m]))", total(slots, "queue")
)

_FIGURES = (
    shared.waiting(chosen),
    shared.oldest_message(chosen),
    shared.without_consumers(chosen),
    shared.queue_wait(chosen),
    figure(
        "Unacknowledged",
        "Messages that workers took and have not acknowledged: of the chosen queues (SQS, RabbitMQ with its "
        "management API), or of the whole database (Redis).",
        f"{total(unacked)} or {total(broker_unacked)}",
        unit=COUNT,
        none="unknown",
    ),
    figure(
        "Broker",
        "Whether the latest sample of the broker succeeded. If not, lengths and ages are left out.",
        lowest(broker_up),
        unit=PLAIN,
        none="no exporter",
        words=limits.UP_OR_DOWN,
    ),
)

_TABLE = listing(
    "Queues",
    "Every known queue. Rates are current, busy is an average of 5 min, the wait is over the time range.",
    Column("Waiting", total(length, "queue"), COUNT),
    Column("Oldest", age(oldest, "queue"), SECONDS, limits.OLDEST_MESSAGE),
    Column("Empty in", _DRAIN, SECONDS),
    Column("Sent", per_second(sent, "queue"), PER_SECOND),
    Column("Received", per_second(received, "queue"), PER_SECOND),
    Column("Wait p95", quantile(0.95, waited, "queue", window=RANGE), SECONDS, limits.QUEUE_WAIT),
    Column("Workers", total(workers, "queue"), COUNT, limits.YES_IS_RIGHT),
    Column("Slots", total(slots, "queue"), COUNT),
    Column("Busy", _BUSY, RATIO, limits.SATURATION),
    keys=(Key("queue", "Queue", link=links.from_cell("queue")),),
    none="no queues known",
    sort="Waiting",
    width=24,
)

_GRAPHS = (
    shared.waiting_over_time(chosen),
    shared.oldest_over_time(chosen),
    graph_by(
        "queue",
        "In",
        "Messages that clients sent per second. Needs task-sent events.",
        per_second(sent, "queue"),
        unit=PER_SECOND,
        none="no tasks known",
    ),
    graph_by(
        "queue",
        "Out",
        "Messages that workers took per second.",
        per_second(received, "queue"),
        unit=PER_SECOND,
        none="no tasks known",
    ),
    graph_by(
        "queue",
        "Queue wait p95",
        "Time from when tasks were due until they started. A gap: no task started.",
        quantile(0.95, waited, "queue"),
        exemplars=True,
        unit=SECONDS,
        none="no tasks started, or no task-sent events",
        limits=limits.QUEUE_WAIT,
    ),
    graph_by(
        "queue",
        "Empty in",
        "Time until the queue is empty, if the trend of the last 5 min continues. No line: it is empty, constant or "
        "growing, or it would take more than a day.",
        _DRAIN,
        unit=CLOCK,
        none="no queue is seen to become shorter",
    ),
    graph_by(
        "queue",
        "Workers",
        "Workers that are up and consume the queue, by their own answers.",
        total(workers, "queue"),
        unit=COUNT,
        none="no worker has answered",
    ),
    graph_by(
        "queue",
        "Busy slots",
        "Running tasks of the queue, on average of 5 min, divided by the slots of its workers (which may run other "
        "tasks too).",
        _BUSY,
        unit=RATIO,
        none="no worker has answered",
        limits=limits.SATURATION,
    ),
)

_BROKER = (
    states(
        "Broker",
        "Whether the broker could be read.",
        Query(lowest(broker_up, "instance"), "{{instance}}"),
        words=limits.UP_OR_DOWN,
        none="no exporter",
    ),
    graph_by(
        "instance",
        "Round trip",
        "Time from a request to the broker's answer.",
        highest(chosen("celery_broker_round_trip_seconds"), "instance"),
        unit=SECONDS,
        none="the broker does not answer",
        limits=limits.ROUND_TRIP,
        width=12,
    ),
)

_ON_REDIS = (
    graph_by(
        "instance",
        "Unacknowledged",
        "Messages that workers hold, including those that wait for their eta.",
        total(broker_unacked, "instance"),
        unit=COUNT,
        none="the broker does not tell",
    ),
    graph_by(
        "instance",
        "Oldest unacknowledged",
        "Time since the delivery of the oldest message that a worker holds. At the visibility timeout (1 h by default) "
        "it is delivered again, even if it still runs.",
        age(chosen("celery_broker_oldest_unacked_timestamp_seconds"), "instance"),
        unit=CLOCK,
        none="none, or the broker does not tell",
        limits=limits.UNACKED_AGE,
    ),
    graph(
        "Waiting by priority",
        "By priority step; needs --queue-priorities.",
        Query(
            leading(total(chosen("celery_queue_priority_length"), "queue", "priority"), "queue", "priority"),
            "{{queue}} {{priority}}",
        ),
        unit=COUNT,
        none="--queue-priorities is off, or the broker is not Redis",
        stacked=True,
        width=8,
    ),
)

_ON_OTHERS = (
    graph_by(
        "queue",
        "Consumers",
        "Consumers as counted by RabbitMQ.",
        total(chosen("celery_queue_consumers"), "queue"),
        unit=COUNT,
        none="the broker does not tell",
    ),
    graph_by(
        "queue",
        "Unacknowledged",
        "Messages that workers took and have not acknowledged (SQS: in flight); RabbitMQ needs --management-url.",
        total(unacked, "queue"),
        unit=COUNT,
        none="the broker does not tell",
    ),
    graph_by(
        "instance",
        "Delayed",
        "Messages that RabbitMQ holds back until their eta (native delayed delivery).",
        total(chosen("celery_broker_delayed_messages"), "instance"),
        unit=COUNT,
        none="no native delayed delivery known",
        width=12,
    ),
    graph_by(
        "queue",
        "Delayed on SQS",
        "Messages that SQS holds back for a time that their sender asked for.",
        total(chosen("celery_queue_delayed_messages"), "queue"),
        unit=COUNT,
        none="the broker does not tell",
    ),
)

SHEET = Sheet(
    about="queue",
    title="Celery / Queues",
    description="What waits and since when, which workers take it, when queues will be empty; the state of the broker.",
    selection=chosen,
    rows=(
        Row("Now", *_FIGURES),
        Row("Each queue", _TABLE),
        Row("Over time", *_GRAPHS),
        Row("Broker", *_BROKER),
        Row("Only on Redis", *_ON_REDIS, collapsed=True),
        Row("Only on RabbitMQ and SQS", *_ON_OTHERS, collapsed=True),
    ),
)
