"""The error for a configuration that cannot work, and any error as one line::

Exception
└── ConfigError    the command line prints its message and ends with exit code 2
"""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot work; the message is one line that says what to write instead.

    The message never contains a secret, so it can be printed and logged.
    """


def one_line(error: BaseException) -> str:
    """Return the class and the message of an error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
