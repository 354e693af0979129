"""The demo: a Valkey server, Celery workers, a client that sends tasks, and the exporter watching them.

`supervisor` starts and stops the parts: `broker` (the server), `shop` (the application), `worker` and `client` (child
processes), `children` and `sweeper` (start and end child processes) and `console` (prints).
"""
