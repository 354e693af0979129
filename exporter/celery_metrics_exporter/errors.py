"""How any error becomes one line, and the error for a configuration that cannot work::

Exception
└── ConfigError    the command line prints its message and ends with exit code 2
"""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot work; the message is one line that says what to write instead.

    The message never contains a secret, so it can be printed and logged.
    """


def one_line(error: BaseException) -> str:
    """The class of an error and its text, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
