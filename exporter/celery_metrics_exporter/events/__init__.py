"""Celery's events: types, decoding, dispatch to handlers, and whether the event stream works."""
