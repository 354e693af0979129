"""Readers of brokers, as far as they need no broker."""
