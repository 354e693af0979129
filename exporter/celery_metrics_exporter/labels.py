"""Sanitise label values, and name exception classes.

Everybody who may publish to the broker chooses names of tasks, queues and workers. A lone surrogate would break the
encoding of a whole scrape; a name of a megabyte would be repeated in each of its lines.
"""

from __future__ import annotations

import re
from typing import Final

#: Longer values are cut; in characters. Celery's own names are far shorter.
MAX_LENGTH: Final = 200
#: The label value for label sets beyond the limit of a family.
OTHER: Final = "other"
#: The label value where the true value is not known.
UNKNOWN: Final = "unknown"

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DOTTED: Final = r"(?:[^\W\d]\w*\.)*([^\W\d]\w*)"
# "ValueError('x')", "KeyError". A class can define any other repr; "<Declined: x>" may begin with its name.
_REPR: Final = re.compile(rf"{_DOTTED}(?=\(|$)")
_ANGLED: Final = re.compile(rf"<{_DOTTED}(?=[\s:(>])")
# Such as "project.errors.OutOfStock: x", or "KeyError" alone.
_LINE: Final = re.compile(rf"{_DOTTED}(?=:|$)")
# The repr of a retry in a threads or solo pool begins so; the repr of the exception follows, or None.
_RETRY: Final = "Retry(Retry(...), "
# Not classes that a task raised: wrappers of pools, and the end of the repr of a retry without an exception.
_NO_CLASS: Final = frozenset({"ExceptionWithTraceback", "RemoteTraceback", "None"})


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
    """The value as a label value: without control characters and surrogates, cut to MAX_LENGTH, never empty."""
    if 0 < len(value) <= MAX_LENGTH and value.isprintable():
        return value
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value[:MAX_LENGTH]) or UNKNOWN


def exception_class(exception: str | None, traceback: str | None) -> str:
    """The class name of the exception in a task-failed or task-retried event, never its message.

    Args:
        exception: a repr. It is ``ExceptionWithTraceback()`` for a hard time limit and a lost worker
            (``celery/worker/request.py``, ``on_timeout``), and any text if the class defines ``__repr__``.
        traceback: a formatted traceback; the line after its last frame names the class too.

    Returns:
        The class name without its module, or ``unknown``.
    """
    return (
        _class(exception, _REPR)
        or _class(_exception_line(traceback), _LINE)
        or _class(exception, _ANGLED)
        or UNKNOWN
    )


def _class(text: str | None, pattern: re.Pattern[str]) -> str | None:
    found = pattern.match(text.removeprefix(_RETRY)[:MAX_LENGTH].strip()) if text else None
    if found is None or found[1] in _NO_CLASS or not found[1].isidentifier():  # \w matches more, such as "½"
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
