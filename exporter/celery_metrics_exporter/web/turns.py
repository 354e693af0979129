"""Turns for work that is done for one client at a time: whoever has asked least lately comes first.

A flood asks all the time, whoever comes anew has hardly asked; so newcomers overtake it, and take its places.
"""

import asyncio
import time
from collections import Counter

_FORGET_SECONDS = 10.0  # after which half of what a client has asked is forgotten
_REMEMBERED = 4096  # clients
_NOBODY = ""  # has the turn during a pause


class Turns:
    """Gives turns, in one loop; one client has one turn or place at a time."""

    def __init__(self, places: int) -> None:
        """``places``: for clients that wait."""
        self._places = places
        self._has_turn: str | None = None
        self._waiting: dict[str, asyncio.Future[bool]] = {}  # who came last stands last
        self._asked: Counter[str] = Counter()
        self._forgot_at = time.monotonic()

    async def begin(self, client: str) -> bool:
        """Wait for a turn, which has to be ended. False: others come first, and there is no place to wait."""
        self._count(client)
        if client == self._has_turn or client in self._waiting:
            return False
        if self._has_turn is None:
            self._has_turn = client
            return True
        if len(self._waiting) >= self._places:
            last = max(self._waiting, key=self._asked.__getitem__)  # of equals the one that came first
            if self._asked[last] < self._asked[client]:
                return False
            self._waiting.pop(last).set_result(False)
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[client] = turn
        try:
            return await turn
        except asyncio.CancelledError:
            if self._has_turn == client:
                self.end()
            else:
                self._waiting.pop(client, None)
            raise

    def end(self, pause: float = 0.0) -> None:
        """Let the next one begin, after a pause in seconds."""
        if pause > 0:
            self._has_turn = _NOBODY
            asyncio.get_running_loop().call_later(pause, self.end)
            return
        self._has_turn = None
        if self._waiting:
            self._has_turn = min(reversed(self._waiting), key=self._asked.__getitem__)
            self._waiting.pop(self._has_turn).set_result(True)

    def _count(self, client: str) -> None:
        self._asked[client] += 1
        now = time.monotonic()
        while now - self._forgot_at >= _FORGET_SECONDS or len(self._asked) > _REMEMBERED:
            self._forgot_at = now
            self._asked = Counter({name: times // 2 for name, times in self._asked.items() if times > 1})
