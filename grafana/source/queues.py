"""Queues: what waits and since when, which workers take it, and when the queue will be empty."""

from grafana.source import limits, links
from grafana.source.panels import COUNT, MESSAGES_PER_SECOND, PLAIN, RATIO, SECONDS, Query, figure, graph
from grafana.source.queries import (
    RANGE,
    age,
    highest,
    lowest,
    per_second,
    quantile,
    ratio,
    total,
)
from grafana.source.selection import Selection
from grafana.source.sheet import Row, Sheet
from grafana.source.tables import Column, Key, listing

#: The window of the trend by which "Empty in" is estimated; a shorter one would follow short fluctuations.
_TREND = "10m"

chosen = Selection("queue")

length = chosen("celery_queue_length")
oldest = chosen("celery_queue_oldest_message_timestamp_seconds")
consumers = chosen("celery_queue_consumers")
workers = chosen("celery_queue_workers")
slots = chosen("celery_queue_pool_size")
unacked = chosen("celery_queue_unacked_messages")
sent = chosen("celery_task_sent_total")
received = chosen("celery_task_received_total")
waited = chosen("celery_task_queue_wait_seconds_bucket")
broker_unacked = chosen("celery_broker_unacked_messages")
oldest_unacked = chosen("celery_broker_oldest_unacked_timestamp_seconds")

#: Length divided by the decrease per second: no sample for a queue that is empty, constant or growing.
_DRAIN = f"({total(length, 'queue')} > 0) / (-sum by (queue) (deriv({length}[{_TREND}])) > 0)"
_BUSY = ratio(total(chosen("celery_task_in_progress"), "queue"), total(slots, "queue"))

_KEY = (Key(label="queue", title="Queue", link=links.from_cell("queue"), width=220),)
_TO_QUEUE = links.from_series("queue")

SHEET = Sheet(
    uid=links.QUEUES,
    title="Celery / Queues",
    description="What waits and since when, which workers take it, when queues will be empty; the state of the broker.",
    selection=chosen,
    rows=(
        Row(
            "Now",
            figure(
                "Messages waiting",
                "Messages that no worker has taken yet.",
                Query(total(length), "messages"),
                unit=COUNT,
                none="unknown",
            ),
            figure(
                "Oldest message",
                "Time since the oldest waiting message was first known. It grows when no worker takes messages.",
                Query(age(oldest), "age"),
                unit=SECONDS,
                none="none known",
                limits=limits.OLDEST_MESSAGE,
            ),
            figure(
                "Without consumers",
                "Queues that hold messages and have no worker.",
                Query(
                    f"count(({length} > 0) and on (job, instance, queue) ({workers} == 0)) or sum({length} * 0)",
                    "queues",
                ),
                unit=COUNT,
                none="unknown",
                limits=limits.NONE_IS_RIGHT,
            ),
            figure(
                "Queue wait p95",
                "95 % of the tasks that started in the time range had waited no longer than this after they were due. "
                "Needs task-sent events.",
                Query(quantile(0.95, waited, window=RANGE), "wait"),
                unit=SECONDS,
                none="no tasks",
                limits=limits.QUEUE_WAIT,
            ),
            figure(
                "Held by workers",
                "Messages that workers took and have not acknowledged: of the chosen queues (RabbitMQ with its "
                "management API), or of the whole database (Redis).",
                Query(f"{total(unacked)} or {total(broker_unacked)}", "messages"),
                unit=COUNT,
                none="unknown",
            ),
            figure(
                "Broker",
                "Whether the latest sample of the broker succeeded. If not, lengths and ages are left out.",
                Query(lowest(chosen("celery_broker_up")), "broker"),
                unit=PLAIN,
                none="no exporter",
                words=limits.yes_no("up", "DOWN"),
            ),
        ),
        Row(
            "Each queue",
            listing(
                "Queues",
                "Every known queue. Rates are current, the wait is over the time range.",
                Column(title="Waiting", expr=total(length, "queue"), unit=COUNT),
                Column(title="Oldest", expr=age(oldest, "queue"), unit=SECONDS, limits=limits.OLDEST_MESSAGE),
                Column(title="Empty in", expr=_DRAIN, unit=SECONDS),
                Column(title="Sent", expr=per_second(sent, "queue"), unit=MESSAGES_PER_SECOND),
                Column(title="Received", expr=per_second(received, "queue"), unit=MESSAGES_PER_SECOND),
                Column(
                    title="Wait p95",
                    expr=quantile(0.95, waited, "queue", window=RANGE),
                    unit=SECONDS,
                    limits=limits.QUEUE_WAIT,
                ),
                Column(title="Workers", expr=total(workers, "queue"), unit=COUNT, limits=limits.YES_IS_RIGHT),
                Column(title="Slots", expr=total(slots, "queue"), unit=COUNT),
                Column(title="Busy", expr=_BUSY, unit=RATIO, limits=limits.SATURATION),
                Column(title="Consumers", expr=total(consumers, "queue"), unit=COUNT),
                Column(title="Unacknowledged", expr=total(unacked, "queue"), unit=COUNT),
                keys=_KEY,
                none="no queues known",
                sort="Waiting",
                width=24,
            ),
        ),
        Row(
            "Over time",
            graph(
                "Messages waiting",
                "Messages that no worker has taken yet, of all priorities. A gap: the broker could not be read.",
                Query(total(length, "queue"), "{{queue}}"),
                unit=COUNT,
                none="no queues known",
                link=_TO_QUEUE,
            ),
            graph(
                "Age of the oldest message",
                "Time since the message at the head was first known. No line: none waits, or not known.",
                Query(age(oldest, "queue"), "{{queue}}"),
                unit=SECONDS,
                none="nothing waits, or it is not known",
                limits=limits.OLDEST_MESSAGE,
                link=_TO_QUEUE,
            ),
            graph(
                "In",
                "Messages that clients sent per second. Needs task-sent events.",
                Query(per_second(sent, "queue"), "{{queue}}"),
                unit=MESSAGES_PER_SECOND,
                none="no tasks known",
                link=_TO_QUEUE,
                width=8,
            ),
            graph(
                "Out",
                "Messages that workers took per second.",
                Query(per_second(received, "queue"), "{{queue}}"),
                unit=MESSAGES_PER_SECOND,
                none="no tasks known",
                link=_TO_QUEUE,
                width=8,
            ),
            graph(
                "Empty in",
                f"Time until the queue is empty, if the trend of the last {_TREND} continues. No line: it is empty, "
                "constant or growing.",
                Query(_DRAIN, "{{queue}}"),
                unit=SECONDS,
                none="no queue becomes shorter",
                link=_TO_QUEUE,
                width=8,
            ),
            graph(
                "Queue wait p95",
                "Time from when tasks were due until they started. A gap: no task started.",
                Query(quantile(0.95, waited, "queue"), "{{queue}}"),
                unit=SECONDS,
                none="no tasks started, or no task-sent events",
                limits=limits.QUEUE_WAIT,
                link=_TO_QUEUE,
            ),
            graph(
                "Median queue wait",
                "Time from when tasks were due until they started. A gap: no task started.",
                Query(quantile(0.5, waited, "queue"), "{{queue}}"),
                unit=SECONDS,
                none="no tasks started, or no task-sent events",
                link=_TO_QUEUE,
            ),
        ),
        Row(
            "Workers and consumers",
            graph(
                "Workers",
                "Workers that are up and consume the queue, by their own answers.",
                Query(total(workers, "queue"), "{{queue}}"),
                unit=COUNT,
                none="no worker has answered",
                link=_TO_QUEUE,
                width=8,
            ),
            graph(
                "Busy slots",
                "Running tasks of the queue divided by the slots of its workers (which may run other tasks too).",
                Query(_BUSY, "{{queue}}"),
                unit=RATIO,
                none="no worker has answered",
                limits=limits.SATURATION,
                link=_TO_QUEUE,
                width=8,
            ),
            graph(
                "Consumers",
                "As counted by RabbitMQ; Redis does not count them.",
                Query(total(consumers, "queue"), "{{queue}}"),
                unit=COUNT,
                none="the broker does not tell",
                link=_TO_QUEUE,
                width=8,
            ),
        ),
        Row(
            "Broker",
            graph(
                "Unacknowledged by queue",
                "Messages that workers took and have not acknowledged, if the broker tells it by queue.",
                Query(total(unacked, "queue"), "{{queue}}"),
                unit=COUNT,
                none="the broker does not tell",
                link=_TO_QUEUE,
                width=8,
            ),
            graph(
                "Unacknowledged in all",
                "Messages that workers of a Redis broker hold, including those that wait for their eta.",
                Query(total(broker_unacked, "instance"), "{{instance}}"),
                unit=COUNT,
                none="the broker does not tell",
                width=8,
            ),
            graph(
                "Oldest unacknowledged",
                "Time since the delivery of the oldest message that a worker holds. At the visibility timeout (1 h by "
                "default) it is delivered again, even if it still runs.",
                Query(age(oldest_unacked, "instance"), "{{instance}}"),
                unit=SECONDS,
                none="none, or the broker does not tell",
                limits=limits.UNACKED_AGE,
                width=8,
            ),
            graph(
                "Round trip",
                "Time from a request to the broker's answer.",
                Query(highest(chosen("celery_broker_round_trip_seconds"), "instance"), "{{instance}}"),
                unit=SECONDS,
                none="the broker does not answer",
                limits=limits.ROUND_TRIP,
            ),
            graph(
                "Broker up",
                "1 while the broker can be read.",
                Query(lowest(chosen("celery_broker_up"), "instance"), "{{instance}}"),
                unit=PLAIN,
                none="no exporter",
                highest=1,
            ),
        ),
        Row(
            "Detail",
            graph(
                "Waiting by priority",
                "By priority step of a Redis broker; needs --queue-priorities.",
                Query(
                    total(chosen("celery_queue_priority_length"), "queue", "priority"),
                    "{{queue}} {{priority}}",
                ),
                unit=COUNT,
                none="--queue-priorities is off, or the broker is not Redis",
                stacked=True,
            ),
            graph(
                "Delayed",
                "Messages that RabbitMQ holds back until their eta (native delayed delivery).",
                Query(total(chosen("celery_broker_delayed_messages"), "instance"), "{{instance}}"),
                unit=COUNT,
                none="no native delayed delivery",
            ),
            collapsed=True,
        ),
    ),
)
