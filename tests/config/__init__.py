"""Settings and their rules."""
