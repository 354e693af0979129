"""``python -m benchmarks.soak``, or ``make soak``: minutes of a busy cluster, and what they leave behind."""
