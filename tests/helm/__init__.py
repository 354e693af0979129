"""The chart as helm renders it: against Kubernetes' schemas, the real exporter, and real Prometheus rules."""
