"""The alert rules, their unit tests, their runbook, and what is composed around them."""
