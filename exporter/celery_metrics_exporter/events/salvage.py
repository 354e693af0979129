"""From a body that does not decode in one go to its items, so that one that is broken does not cost the others.

Owns: which JSON and what other than JSON is taken apart, and how much of it. Must not know: events.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Values in a body; 16 MB of ``[{},{},`` would take a gigabyte as objects. So many events in 16 MB have fewer.
MAX_PARTS: Final = 1_000_000

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
# Up to the next sign that structures JSON; a string is passed whole, whether or not it ends. Possessive: what did not
# match must not be tried in another way.
_next_sign = re.compile(rb'(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+"?)*+([\[\]{},])', re.DOTALL).match


class TooManyPartsError(Exception):
    """A body holds more than ``MAX_PARTS`` values."""


def salvage(body: bytes) -> Iterable[msgspec.Raw]:
    """Take a body apart.

    Args:
        body: an object, or a list, in whatever state.

    Returns:
        The body itself, or the items of the list, which may be no JSON.

    Raises:
        TooManyPartsError: it holds too many values to take them apart.
        ValueError, RecursionError: it is no JSON, nor what Python's own ``json`` takes besides: a
            byte order mark, UTF-16.
    """
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_PARTS:
        raise TooManyPartsError(f"more than {MAX_PARTS} parts")
    first = body[:100].lstrip()[:1]
    if first not in (b"{", b"[") or body[1:2] == b"\0":  # a zero is UTF-16
        content = json.loads(body)
        return [
            msgspec.Raw(json.dumps(item).encode())
            for item in (content if isinstance(content, list) else [content])
        ]
    if first == b"{":
        return [msgspec.Raw(body)]
    try:
        return _split(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _cut(body)


def _cut(body: bytes) -> Iterator[msgspec.Raw]:
    """Cut a list at its commas, whatever stands between them, as long as its brackets come in pairs."""
    depth = 0
    start = at = body.index(b"[") + 1
    while found := _next_sign(body, at):
        at = found.end()
        sign = found[1]
        if sign in b"[{":
            depth += 1
        elif sign == b"," and not depth:
            yield msgspec.Raw(body[start : at - 1])
            start = at
        elif sign in b"]}":
            if not depth:
                yield msgspec.Raw(body[start : at - 1])
                return
            depth -= 1
    yield msgspec.Raw(body[start:])
