"""A worker process of the demo: `python -m celery_metrics_exporter.demo.worker NAME`, one of `shop.WORKERS`."""

import sys
import warnings

from celery.platforms import SecurityWarning

from celery_metrics_exporter.demo.shop import WORKERS, make_app


def main(name: str) -> None:
    """Run this worker until SIGTERM."""
    # Celery warns root, who may run the demo: its messages are JSON alone, from a broker with a password.
    warnings.simplefilter("ignore", SecurityWarning)
    worker = next(worker for worker in WORKERS if worker.name == name)
    make_app().worker_main(
        [
            "--quiet",  # no banner: what the log says last must be what went wrong
            "worker",
            f"--hostname={worker.name}@%h",
            f"--pool={worker.pool}",
            f"--concurrency={worker.concurrency}",
            f"--queues={','.join(worker.queues)}",
            "--task-events",
            "--loglevel=ERROR",
            # Start-up waits and chatter between workers that nobody looks at here; heartbeats stay on.
            "--without-gossip",
            "--without-mingle",
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1])
