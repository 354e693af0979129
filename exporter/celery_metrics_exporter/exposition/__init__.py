"""Encode metric families as the bytes of a scrape."""
