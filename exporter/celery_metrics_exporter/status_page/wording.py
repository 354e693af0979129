"""Numbers, times and foreign texts as people read them, safe in HTML.

Owns: how each is written. Names of tasks, queues and workers come from whoever can publish to the broker: what could
pass for markup is escaped, what could turn or hide the text around it (controls, directions, what has no width) is
shown by its code, and every text stands in an element of its own direction.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from datetime import UTC, datetime
from typing import Final

#: Longer texts are cut; names are at most 200 characters long already.
MAX_TEXT: Final = 400
#: What stands for a number that is not known.
UNKNOWN: Final = "\N{EN DASH}"
#: Combining marks in a row, of which a few are a letter and many climb over the lines above.
_STACKED: Final = re.compile(
    r"(?<=.)[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4,}"
)
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_CODE: Final = re.compile(r"`([^`]*)`")

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def plain(text: str) -> str:
    """The text as nothing but text, on one line, not too long, not yet escaped."""
    shown = text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
    if shown.isascii() and shown.isprintable():
        return shown
    return _STACKED.sub(lambda found: _codes(found[0]), "".join(map(_visible, shown)))


def foreign(text: str) -> str:
    """HTML of a text of others."""
    return f"<bdi>{html.escape(plain(text))}</bdi>"


def ours(text: str) -> str:
    """HTML of a text of ours, in which what stands between backticks is code."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text))


def number(value: float | None, unknown: str = UNKNOWN) -> str:
    """A count, such as ``12,345``; what stands for one that is not known may be a link."""
    return unknown if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """A number a second, with three digits that count."""
    if value is None:
        return UNKNOWN
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004


def share(part: int, whole: int) -> str:
    """A part in percent; one that is neither none nor all is never shown as such."""
    if not whole:
        return UNKNOWN
    if 0 < part < whole:
        return f"{min(99.9, max(0.1, 100 * part / whole)):.1f} %"
    return "100 %" if part else "0 %"


def duration(seconds: float) -> str:
    """Such as ``3 ms``, ``2.5 s``, ``12 s``, ``4 min 10 s``, ``3 h 20 min``, ``2 d 5 h``."""
    if not math.isfinite(seconds):
        return "for ever"
    if seconds < 0.9995:  # noqa: PLR2004 - what rounds to 1,000 ms is a second
        return "< 1 ms" if 0 < seconds < 0.0005 else f"{max(0.0, seconds) * 1000:.0f} ms"  # noqa: PLR2004 - rounds to 0
    if seconds < 9.95:  # noqa: PLR2004 - one digit after the point, up to ten
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for unit, name, smaller, smaller_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{whole} s"


def within(seconds: float | None, last_bound: float) -> str:
    """A bound of a histogram; beyond the last one is more than that."""
    if seconds is None:
        return UNKNOWN
    return f"> {duration(last_bound)}" if math.isinf(seconds) else f"≤ {duration(seconds)}"


def age(timestamp: float | None, now: float) -> str:
    """How long ago that was, as a ``<time>``; what clocks put into the future is now."""
    if timestamp is None:
        return UNKNOWN
    return stamp(
        timestamp, duration(float(round(max(0.0, now - timestamp)))) if now - timestamp >= 1 else "now"
    )


def ago(timestamp: float | None, now: float) -> str:
    """The same with the word."""
    if timestamp is None:
        return "never"
    return age(timestamp, now) + (" ago" if now - timestamp >= 1 else "")


def stamp(timestamp: float, text: str | None = None) -> str:
    """A ``<time>`` with this text, or else the time of the day."""
    moment = datetime.fromtimestamp(timestamp, UTC)
    shown = f"{moment:%H:%M:%S} UTC" if text is None else text
    return (
        f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}" title="{moment:%Y-%m-%d %H:%M:%S} UTC">{shown}</time>'
    )


def _visible(char: str) -> str:
    return _codes(char) if unicodedata.category(char) in _INVISIBLE else char


def _codes(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}" for char in text)  # noqa: PLR2004
