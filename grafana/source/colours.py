"""The colours of all panels: for judgements, and for what a line or a word stands for.

A line whose name has a meaning has the same colour in every graph; the lines of tasks, queues and workers have those of
Grafana's palette.
"""

from typing import Final

GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"
_GREY: Final = "#8e8e8e"

#: The last word of a line's name -> its colour.
MEANT: Final = {
    "succeeded": GREEN,
    "failed": RED,
    "retried": ORANGE,
    "sent": BLUE,
    "received": "purple",
    "started": "light-green",
    "rejected": "dark-red",
    "revoked": "yellow",
    "expired": "light-yellow",
    "cancelled": "light-orange",
    "terminated": RED,
    "up": GREEN,
    "down": RED,
    "lost": RED,
    "online": GREEN,
    "offline": RED,
    "heartbeat": _GREY,
    "running": BLUE,
    "slots": _GREY,
    "p50": "light-blue",
    "p95": "blue",
    "p99": "purple",
    "mean": _GREY,
}

#: Label -> the words that its values are or end with (``task-failed``).
VALUES: Final = {
    "outcome": ("succeeded", "failed", "retried"),
    "reason": ("revoked", "expired", "terminated"),
    "event": (
        *("sent", "received", "started", "succeeded", "failed", "retried", "rejected", "revoked"),
        *("online", "heartbeat", "offline"),
    ),
}
