"""The error that ends the demo with a message for the user."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot start or continue; the message is one line, which `details` may follow."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details
