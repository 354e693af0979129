"""The errors that end the program in one line, and how any error becomes one.

Owns the exception that bad configuration raises anywhere in the package::

    Exception
    └── ConfigError    something the user wrote cannot work: the command line ends with exit code 2

Knows nothing of the rest of the package.
"""


class ConfigError(Exception):
    """The configuration cannot work; the message is one line that says what to write instead.

    The message never contains a secret, so that it can be printed and logged as it is.
    """


def one_line(error: BaseException) -> str:
    """The class of an error and what it says, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
