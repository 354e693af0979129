"""Attempts, correlation and counts of tasks."""
