"""Receivers, as far as they need no broker."""
