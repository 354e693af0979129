"""Sanitise label values, and name exception classes.

Everybody who may publish to the broker chooses names of tasks, queues and workers. A lone surrogate would break the
encoding of a whole scrape; a name of a megabyte would be repeated in each of its lines. Queues that each process has
for itself share one label, or each restart would leave its own series behind.
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
# A retry may quote a class, "<class 'project.errors.OutOfStock'>", or such a repr. Of the latter those are sure that no
# text would look like: "<OutOfStock: x>", "<OutOfStock object at 0x7f>".
_QUOTED: Final = re.compile(
    r"(?:Retry\()?(?:Retry\(\.\.\.\), )?"
    r"<(?:class '(?:[^']*\.)?(?=\w+'>)|(?:[^\W\d]\w*\.)*(?=\w+(?:[:(>]| object at )))([^\W\d]\w*)"
)
# Such as "project.errors.OutOfStock: x", or "KeyError" alone.
_LINE: Final = re.compile(rf"{_DOTTED}(?=:|$)")
# The repr of a retry begins so, and its text as below (``celery/exceptions.py``, ``Retry``): "Retry in 3s: OSError()",
# "Retry at 2026-01-31 12:00:00+00:00: OSError()". The repr of the exception follows, if there is one.
_RETRY: Final = re.compile(r"Retry\((?:Retry\(\.\.\.\), )?(?=[^\W\d])")
_RETRY_TEXT: Final = re.compile(r"Retry (?:in \S+s|at .{1,64}?): ")
# Not classes that a task raised: wrappers of pools, the end of the repr of a retry without an exception, and a keyword.
_NO_CLASS: Final = frozenset({"ExceptionWithTraceback", "RemoteTraceback", "None", "class"})


_UNREGISTERED: Final = re.compile(r"NotRegistered\((['\"])([^'\"\\]{1,500})\1\)")
# Queues of one process each: ``kombu/common.py`` (``Broadcast``: "bcast.<uuid>", or "<queue>.<uuid>" if ``unique``) and
# ``celery/utils/nodenames.py`` (``worker_direct``: "<nodename>.dq2").
_UUID: Final = re.compile(r"\.[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
_DIRECT: Final = ".dq2"
#: Ends the label of such queues, as in ``bcast.*``; the whole label of ``worker_direct`` queues.
_ANY: Final = ".*"
_ANY_DIRECT: Final = "*.dq2"


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


def queue_label(name: str) -> str:
    """The label of a queue: its clean name, or ``bcast.*``, ``<name>.*`` or ``*.dq2`` for those of one process each."""
    if name.endswith(_DIRECT):
        return _ANY_DIRECT
    found = _UUID.search(name)
    if found is None or not found.start():
        return clean(name)
    return clean(name[: found.start()])[: MAX_LENGTH - len(_ANY)] + _ANY


def has_shared_label(name: str) -> bool:
    """Whether the label of this queue is not its name, so that other queues may have the same label."""
    return queue_label(name) != name


def is_shared_label(label: str) -> bool:
    """Whether this is the label of all queues of a kind that each process has for itself; no queue has this name."""
    return label == _ANY_DIRECT or label.endswith(_ANY)


def exception_class(exception: str | None, traceback: str | None) -> str:
    """The class name of the exception in a task-failed or task-retried event, never its message.

    Args:
        exception: a repr. It is ``ExceptionWithTraceback()`` for a hard time limit and a lost worker
            (``celery/worker/request.py``, ``on_timeout``), and any text if the class defines ``__repr__``.
        traceback: a formatted traceback; the line after its last frame names the class too.

    Returns:
        The class name without its module, or ``unknown``.
    """
    found = _class(exception, _REPR)
    if found is not None and found != "Retry":
        return found
    line = _exception_line(traceback)
    found = found or _class(line, _LINE)
    if found is None or found == "Retry":
        found = _retried_class(line) or _class(exception, _QUOTED) or found
    return found or _class(exception, _ANGLED) or UNKNOWN


def unregistered_task(exception: str | None, traceback: str | None) -> str | None:
    """The name of a task that its worker does not know, from its task-failed, the only event of it, which has no other.

    ``celery/worker/consumer/consumer.py`` (``on_unknown_task``) sends the exception alone; one that a task raised has a
    traceback, and may name any task.
    """
    found = _UNREGISTERED.fullmatch(exception) if exception and traceback is None else None
    return None if found is None else found[2]


def _retried_class(line: str | None) -> str | None:
    """The class that the text of a ``Retry`` quotes; Celery 4.4 and 5.0 name it nowhere else."""
    named = _LINE.match(line) if line else None
    if line is None or named is None or named[1] != "Retry":
        return None
    quoted = _RETRY_TEXT.match(line, named.end() + len(": "))
    if quoted is None:
        return None
    text = line[quoted.end() :]
    return _class(text, _REPR) or _class(text, _QUOTED)


def _class(text: str | None, pattern: re.Pattern[str]) -> str | None:
    if not text:
        return None
    retry = _RETRY.match(text)
    start = retry.end() if retry else 0
    found = pattern.match(text[start : start + MAX_LENGTH].strip())
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
