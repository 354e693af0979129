"""Versions as numbers that can be compared."""

from __future__ import annotations

import re


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version, such as (7, 2, 4); empty if there are none."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(number) for number in match[0].split(".")) if match else ()
