"""Celery's events: their types, decoding and dispatch, and whether the stream is alive."""
