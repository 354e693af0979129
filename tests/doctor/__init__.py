"""Tests of `celery-exporter doctor` that need no server."""
