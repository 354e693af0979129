"""What may become the value of a label.

Owns: sanitising. Task, queue and worker names come from whoever can publish to the broker: a lone surrogate would
break the encoding of a whole scrape, a megabyte would stand in each of its lines.
"""

from __future__ import annotations

import re
from typing import Final

#: Longer values are cut; Celery's own names stay far below.
MAX_LENGTH: Final = 200
#: Where label sets beyond the limit of a family are counted.
OTHER: Final = "other"
#: The value of a label that cannot be known.
UNKNOWN: Final = "unknown"

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DOTTED = r"(?:[^\W\d]\w*\.)*([^\W\d]\w*)"
# "ValueError('x')", "KeyError": any other repr was made up by the class, "<Declined: x>" perhaps with its name.
_REPR = re.compile(rf"{_DOTTED}(?=\(|$)")
_ANGLED = re.compile(rf"<{_DOTTED}(?=[\s:(>])")
# Such as "project.errors.OutOfStock: x", or "KeyError" alone.
_LINE = re.compile(rf"{_DOTTED}(?=:|$)")
# How a threads or solo pool tells of a retry; the repr of what was raised follows, None if there was nothing.
_RETRY = "Retry(Retry(...), "
# Not the class of what was raised: what pools wrap it in, and the repr of a retry without an exception.
_NO_CLASS = frozenset({"ExceptionWithTraceback", "RemoteTraceback", "None"})


class SeriesLimit:
    """How many label sets a family may have. What exceeds it is counted as ``other``.

    Attributes:
        maximum: label sets of one family.
        overflows: how often one more was refused, by family. One thread at a time writes, any may read.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.overflows: dict[str, int] = {}

    def admits(self, family: str, size: int) -> bool:
        """Whether a family (or group of families) of ``size`` label sets may have one more; a refusal is counted."""
        if size < self.maximum:
            return True
        self.overflows[family] = self.overflows.get(family, 0) + 1
        return False


def clean(value: str) -> str:
    """Return ``value`` as it may stand in a label: no control characters, no surrogates, bounded, never empty."""
    if 0 < len(value) <= MAX_LENGTH and value.isprintable():
        return value
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value[:MAX_LENGTH]) or UNKNOWN


def exception_class(exception: str | None, traceback: str | None) -> str:
    """Name the class of the exception of a task-failed or task-retried, never its message.

    Args:
        exception: a repr; literally ``ExceptionWithTraceback()`` for a hard time limit and a lost worker
            (``celery/worker/request.py``, ``on_timeout``), anything at all if the class defines ``__repr__``.
        traceback: a formatted traceback; the line after its last frame then tells.

    Returns:
        The bare class name without module, or ``unknown``.
    """
    return (
        _class(exception, _REPR)
        or _class(_exception_line(traceback), _LINE)
        or _class(exception, _ANGLED)
        or UNKNOWN
    )


def _class(text: str | None, pattern: re.Pattern[str]) -> str | None:
    found = pattern.match(text.removeprefix(_RETRY)[:MAX_LENGTH].strip()) if text else None
    if found is None or found[1] in _NO_CLASS or not found[1].isidentifier():  # \w holds more: one half, say
        return None
    return clean(found[1])


def _exception_line(traceback: str | None) -> str | None:
    if not traceback:
        return None
    last_frame = traceback.rfind('\n  File "') + 1
    for line in traceback[last_frame : last_frame + 4096].splitlines():
        if line and not line[0].isspace():
            return line
    return None
