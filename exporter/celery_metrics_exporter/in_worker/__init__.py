"""Metrics inside a worker: its own tasks, without event messages."""
