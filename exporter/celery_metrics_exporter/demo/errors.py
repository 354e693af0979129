"""The demo's one error: something that the user can read and act on. Knows nothing else of the demo."""


class DemoError(Exception):
    """The demo cannot start or go on; the message is one line that says what to do, `details` may follow it."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details
