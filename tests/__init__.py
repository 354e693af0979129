"""The tests; they mirror the package ``celery_metrics_exporter``."""
