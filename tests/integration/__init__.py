"""Tests against real brokers, real workers and a real Prometheus."""
