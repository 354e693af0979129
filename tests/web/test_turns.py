"""Turns: whoever has asked least lately comes first, and places are few."""

import asyncio
from collections.abc import Awaitable

import pytest

from celery_metrics_exporter.web.turns import Turns

TIMEOUT_S = 5.0


async def tried(turns: Turns, client: str, times: int) -> None:
    """Ask so often, and never wait."""
    for _ in range(times):
        asking = asyncio.create_task(turns.begin(client))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])


async def begun(asking: Awaitable[bool]) -> bool:
    """The answer to somebody who need not wait for it."""
    return await asyncio.wait_for(asking, TIMEOUT_S)


def test_who_asked_least_comes_first() -> None:
    """Newcomers overtake those that ask without end, take their places, and give them up to nobody."""

    async def scene() -> list[str]:
        turns, order = Turns(2), list[str]()
        assert await turns.begin("first")

        async def waits(client: str) -> None:
            if await turns.begin(client):
                order.append(client)
            else:
                order.append(f"not {client}")

        for number in (1, 2, 3):
            await tried(turns, f"flood {number}", 9)
        waiting = []
        for client in ("flood 1", "flood 2", "newcomer", "flood 3", "other newcomer", "flood 2"):
            waiting.append(asyncio.create_task(waits(client)))
            await asyncio.sleep(0.001)
        for _ in range(3):
            turns.end()
            await asyncio.sleep(0.001)
        await asyncio.gather(*waiting)
        return order

    refused = ["not flood 1", "not flood 2", "not flood 3", "not flood 2"]
    assert asyncio.run(scene()) == [*refused, "other newcomer", "newcomer"]


def test_client_has_one_turn_or_place() -> None:
    """Whoever has a turn, or waits for one, gets no other."""

    async def scene() -> None:
        turns = Turns(3)
        assert await turns.begin("a")
        assert not await begun(turns.begin("a"))
        waiting = asyncio.create_task(turns.begin("b"))
        await asyncio.sleep(0)
        assert not await begun(turns.begin("b"))
        turns.end()
        assert await waiting
        turns.end()
        assert await begun(turns.begin("a"))

    asyncio.run(scene())


@pytest.mark.parametrize("granted", [False, True])
def test_who_goes_away_leaves_a_place(*, granted: bool) -> None:
    """A client that is cut while it waits, even when its turn comes at this moment, is in nobody's way."""

    async def scene() -> None:
        turns = Turns(1)
        assert await turns.begin("a")
        waiting = asyncio.create_task(turns.begin("b"))
        await asyncio.sleep(0)
        if granted:
            turns.end()
        waiting.cancel()
        await asyncio.wait([waiting])
        if not granted:
            turns.end()
        assert await begun(turns.begin("c"))

    asyncio.run(scene())


def test_pause_before_the_next_turn() -> None:
    """Those who come in the pause are chosen from at its end."""

    async def scene() -> None:
        turns = Turns(3)
        assert await turns.begin("a")
        await tried(turns, "flood", 3)
        flood = asyncio.create_task(turns.begin("flood"))
        await asyncio.sleep(0)
        turns.end(pause=0.01)
        again = asyncio.create_task(turns.begin("a"))
        newcomer = asyncio.create_task(turns.begin("newcomer"))
        done, _ = await asyncio.wait([flood, newcomer], return_when=asyncio.FIRST_COMPLETED)
        assert done == {newcomer}
        assert await newcomer
        turns.end()
        assert await again
        turns.end()
        assert await flood

    asyncio.run(scene())


def test_what_was_asked_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of it, as time goes by; and of however many clients, so many are remembered."""
    now = [100.0]
    monkeypatch.setattr("celery_metrics_exporter.web.turns.time.monotonic", lambda: now[0])

    async def scene() -> None:
        turns = Turns(1)
        assert await turns.begin("a")
        await tried(turns, "flood", 8)
        now[0] += 10
        await tried(turns, "b", 1)
        assert turns._asked["flood"] == 4
        for number in range(10_000):
            await tried(turns, f"client {number}", 1)
        assert len(turns._asked) <= 4096

    asyncio.run(scene())
