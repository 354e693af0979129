"""Texts and bytes that an encoder keeps between scrapes."""

from __future__ import annotations

from typing import Final, TypeVar

_KeyT = TypeVar("_KeyT")
_ValueT = TypeVar("_ValueT")

#: Entries that a cache may hold beyond twice of what a scrape needs.
_SPARE_ENTRIES: Final = 1000


class Cache(dict[_KeyT, _ValueT]):
    """Texts that were made before. Cleared when it holds more than twice what a scrape needs: series come and go."""

    needed = 0

    def trim(self) -> None:
        """Clear the cache if it is too large; to be called at the end of a scrape."""
        if self.needed and len(self) > 2 * self.needed + _SPARE_ENTRIES:
            self.clear()
        self.needed = 0
