"""The error for a configuration that cannot work::

Exception
└── ConfigError    the command line prints its message and ends with exit code 2
"""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot work; the message is one line that says what to write instead.

    The message never contains a secret, so it can be printed and logged.
    """
