"""Split a body that does not decode as a whole into its items, so that a broken item does not cost the others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

#: Most values in a body: 16 MB of ``[{},{},`` would take a gigabyte as objects. 16 MB of real events hold fewer.
MAX_PARTS: Final = 1_000_000

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
# Matches up to the next bracket or comma outside of strings; a string may lack its end. The quantifiers are possessive:
# no backtracking on hostile input.
_next_sign = re.compile(rb'(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+"?)*+([\[\]{},])', re.DOTALL).match


class TooManyPartsError(Exception):
    """A body holds more than ``MAX_PARTS`` values."""


def salvage(body: bytes) -> Iterable[msgspec.Raw]:
    """Split a body.

    Args:
        body: an object, or a list, in whatever state.

    Returns:
        The body itself if it is an object, or the items of the list, each of which may be invalid JSON.

    Raises:
        TooManyPartsError: it holds more than ``MAX_PARTS`` values.
        ValueError, RecursionError: not even Python's own ``json`` can read it, which accepts a byte order mark and
            UTF-16.
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
    """Cut a list at its commas, whatever is between them, as long as its brackets are balanced."""
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
