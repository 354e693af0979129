"""The truth test: a workload whose every number is known before the first task is sent."""
