"""The families that a worker cannot know of itself, and therefore does not have."""

from __future__ import annotations

from typing import Final

#: Clients alone know what is published; the broker alone its queues; a worker that is lost tells nothing, and what it
#: sees of itself it neither misses nor sees late, nor by another clock.
ABSENT: Final = frozenset(
    {
        "celery_broker_delayed_messages",
        "celery_broker_oldest_unacked_timestamp_seconds",
        "celery_broker_round_trip_seconds",
        "celery_broker_unacked_messages",
        "celery_broker_up",
        "celery_exporter_event_lag_seconds",
        "celery_exporter_last_event_timestamp_seconds",
        "celery_exporter_receiver_connected",
        "celery_exporter_receiver_delivering",
        "celery_exporter_receiver_disconnected_seconds_total",
        "celery_exporter_receiver_reconnects_total",
        "celery_exporter_receiver_restarts_total",
        "celery_exporter_receiver_standby",
        "celery_queue_consumers",
        "celery_queue_delayed_messages",
        "celery_queue_length",
        "celery_queue_oldest_message_timestamp_seconds",
        "celery_queue_priority_length",
        "celery_queue_unacked_messages",
        "celery_task_ended_unseen_total",
        "celery_task_sent_total",
        "celery_worker_clock_offset_seconds",
        "celery_worker_heartbeat_interval_seconds",
        "celery_worker_lost_total",
        "celery_worker_missed_tasks_total",
        "celery_worker_name_shared",
        "celery_worker_task_events_enabled",
    }
)
