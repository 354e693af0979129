"""Log lines that strangers can cause: at most one per minute, which tells how many it stands for."""

import logging
import threading
import time

from celery_metrics_exporter.logs import fields

LOG_INTERVAL_SECONDS = 60.0


class SparingLog:
    """Logs one kind of trouble; thread-safe. What it holds back is seen at debug."""

    def __init__(self, log: logging.Logger, level: int, message: str) -> None:
        self.log = log
        self._level = level
        self._message = message
        self._lock = threading.Lock()
        self._logged = -LOG_INTERVAL_SECONDS
        self._held_back = 0

    def __call__(self, **details: object) -> None:
        """Log it with these details, or count it for the next line."""
        now = time.monotonic()
        with self._lock:
            due = now - self._logged >= LOG_INTERVAL_SECONDS
            held_back = self._held_back
            self._held_back = 0 if due else held_back + 1
            if due:
                self._logged = now
        if due:
            self.log.log(self._level, self._message, extra=fields(**details, since_last_line=held_back + 1))
        else:
            self.log.debug(self._message, extra=fields(**details))
