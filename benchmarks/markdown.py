"""Markdown, as far as pages of results need it."""

from collections.abc import Iterable, Sequence
from textwrap import fill


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    align = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, align, *rows))


def bullets(lines: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {line}" for line in lines)


def paragraph(*pieces: str) -> str:
    """Text, in lines of a readable width."""
    return fill(" ".join(pieces), width=120, break_long_words=False, break_on_hyphens=False)
