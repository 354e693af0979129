"""Tests of what people look at: the committed dashboards, and what docs, dashboards and alerts say of metrics."""
