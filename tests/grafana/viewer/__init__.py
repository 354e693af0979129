"""Draws the dashboards with Grafana's component library, in simulated scenarios that a real Prometheus has stored."""
