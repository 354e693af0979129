"""The error for a configuration that cannot work, and any error as one line::

Exception
└── ConfigError    the command line prints its message and ends with exit code 2
"""

from __future__ import annotations

import re
from typing import Final

#: Where an object is in memory, in its ``repr``.
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
#: An object's ``repr`` with no other in it: its type, or the server that it stands for.
_OBJECT: Final = re.compile(r"<([A-Za-z_][\w.]*)([^<>]*)>")
_DEPTH: Final = 6  # redis-py's client has four: client, pool, connection, retry
_SERVER: Final = re.compile(r"\bhost=([^\s,)]+),port=(\d+)|^\((\S+:\d+)\)$")


class ConfigError(Exception):
    """The configuration cannot work; the message is one line that says what to write instead.

    The message never contains a secret, so it can be printed and logged.
    """


def one_line(error: BaseException) -> str:
    """Return the class and the message of an error as one line.

    Objects whose ``repr`` is in the message, as redis-py's clients are, are shortened, so that the same error is the
    same line each time.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
    if _ADDRESS.search(text) or "(<" in text:
        for _ in range(_DEPTH):  # from the innermost one on
            text = _OBJECT.sub(_name, text)
        text = _ADDRESS.sub("", text)
    return text


def _name(found: re.Match[str]) -> str:
    server = _SERVER.search(found[2])
    if server is None:
        return found[1]
    return server[3] or f"{server[1]}:{server[2]}"
