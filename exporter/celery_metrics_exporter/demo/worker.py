"""A worker process of the demo: `python -m celery_metrics_exporter.demo.worker NAME`, one of `shop.WORKERS`."""

from __future__ import annotations

import sys
import warnings

from celery.platforms import SecurityWarning

from celery_metrics_exporter.demo.shop import WORKERS, make_app


def main(name: str) -> None:
    """Run this worker until SIGTERM."""
    # Celery warns when root runs a worker; here all messages are JSON, from a broker with a password.
    warnings.simplefilter("ignore", SecurityWarning)
    make_app().worker_main(
        [
            "--quiet",  # no banner: the last lines of the log must be the error
            "worker",
            f"--hostname={name}@%h",
            *WORKERS[name],
            "--task-events",
            "--loglevel=ERROR",
            # No waiting at start and no talk between workers, which nothing here uses; heartbeats stay on.
            "--without-gossip",
            "--without-mingle",
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1])
