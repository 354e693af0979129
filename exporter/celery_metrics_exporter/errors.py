"""The errors that end the program in one line.

Owns the exception that bad configuration raises anywhere in the package::

    Exception
    └── ConfigError    something the user wrote cannot work: the command line ends with exit code 2

Knows nothing of the rest of the package.
"""


class ConfigError(Exception):
    """The configuration cannot work; the message is one line that says what to write instead.

    The message never contains a secret, so that it can be printed and logged as it is.
    """
