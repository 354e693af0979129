"""Remote control: broadcast commands to all workers, and read their answers.

``remote`` is the loop that asks; ``mailbox`` sends commands and finds the command of an answer; ``transport`` and
``redis_transport`` carry messages over each kind of broker.
"""

from __future__ import annotations


class RefusedError(Exception):
    """The broker answers and refuses what we want to do; the message is the broker's own."""
