"""Who is let in by basic authentication, and how much work strangers can cause."""

import asyncio
import base64
import threading
from collections.abc import Iterator, Mapping

import bcrypt
import pytest

from celery_metrics_exporter.web.serial_thread import SerialThread
from celery_metrics_exporter.web.users import MOST_CHECKS, STRANGERS_SHARE, Users, Verdict
from tests.web_files import HASH, PASSWORD

TIMEOUT_S = 20.0
HASHES: Mapping[bytes, bytes] = {b"alice": HASH.encode(), "bj\xf6rn".encode(): HASH.encode()}


@pytest.fixture
def thread() -> Iterator[SerialThread]:
    """Where checks are made."""
    thread = SerialThread("checks")
    thread.start()
    yield thread
    thread.stop()


def judged(users: Users, hashes: Mapping[bytes, bytes], header: str | None, address: str) -> Verdict:
    """What comes of one request."""
    return asyncio.run(users.verdict(hashes, header, address))


def basic(user: str, password: str | bytes) -> str:
    """The header of a client."""
    encoded = password if isinstance(password, bytes) else password.encode()
    return "Basic " + base64.b64encode(user.encode() + b":" + encoded).decode()


class Counting:
    """bcrypt, counted; ``seconds`` is what each check is said to have used of a core."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.hashes: list[bytes] = []
        self._seconds = seconds
        self._used = 0.0

    def check(self, password: bytes, hash_: bytes) -> bool:
        """Check, and note against which hash."""
        self.hashes.append(hash_)
        self._used += self._seconds
        return bcrypt.checkpw(password, hash_)

    def cpu(self) -> float:
        """Seconds used so far."""
        return self._used


def counted(thread: SerialThread, seconds: float = 0.0) -> tuple[Users, Counting]:
    """Users whose checks are counted."""
    counting = Counting(seconds)
    return Users(thread, check=counting.check, cpu_seconds=counting.cpu), counting


@pytest.mark.parametrize("user", ["alice", "bj\xf6rn"])
@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_right_password(thread: SerialThread, user: str, scheme: str) -> None:
    """A user of the file with the password of the hash is known."""
    header = basic(user, PASSWORD).replace("Basic", scheme)
    assert judged(Users(thread), HASHES, header, "127.0.0.1") is Verdict.KNOWN


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic \xff",
        "Basic " + base64.b64encode(b"alice").decode(),
        f"Bearer {PASSWORD}",
        basic("alice", PASSWORD) + ", " + basic("alice", PASSWORD),
        basic("alice", ""),
        basic("alice", PASSWORD + "x"),
        basic("alice", PASSWORD + "\0"),
        basic("alice", b"\xff" * 9000),
        basic("Alice", PASSWORD),
        basic("", PASSWORD),
        basic("mallory", PASSWORD),
    ],
)
def test_everything_else_is_unknown(thread: SerialThread, header: str | None) -> None:
    """No credentials, broken ones, a wrong password and a name that is not in the file come to the same."""
    assert judged(Users(thread), HASHES, header, "127.0.0.1") is Verdict.UNKNOWN


def test_password_counts_to_its_72nd_byte(thread: SerialThread) -> None:
    """Longer passwords are cut as Go's bcrypt does, which is what the toolkit accepts."""
    long = "x" * 80
    hashes = {b"alice": bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4))}
    assert judged(Users(thread), hashes, basic("alice", long), "127.0.0.1") is Verdict.KNOWN


def test_each_password_is_checked_once(thread: SerialThread) -> None:
    """Right and wrong ones are remembered, so that a scrape costs no bcrypt."""
    users, counting = counted(thread)
    for _ in range(3):
        assert judged(users, HASHES, basic("alice", PASSWORD), "127.0.0.1") is Verdict.KNOWN
        assert judged(users, HASHES, basic("alice", "wrong"), "127.0.0.1") is Verdict.UNKNOWN
        assert judged(users, HASHES, basic("mallory", PASSWORD), "127.0.0.1") is Verdict.UNKNOWN
    assert len(counting.hashes) == 3


def test_unknown_user_costs_as_much_as_a_known_one(thread: SerialThread) -> None:
    """A name that is not in the file is checked too, always against the same hash of the file, and never let in."""
    users, counting = counted(thread)
    hashes = {b"a%d" % number: bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)) for number in range(8)}
    for password in (PASSWORD, "wrong", "other"):
        assert judged(users, hashes, basic("mallory", password), "127.0.0.1") is Verdict.UNKNOWN
    assert len(counting.hashes) == 3
    assert len(set(counting.hashes)) == 1
    assert counting.hashes[0] in hashes.values()


def test_change_of_the_file_holds_at_once(thread: SerialThread) -> None:
    """What was remembered of another version of the file does not count: users go, and come back."""
    users, counting = counted(thread)
    header = basic("alice", PASSWORD)
    assert judged(users, HASHES, header, "127.0.0.1") is Verdict.KNOWN
    other = bcrypt.hashpw(b"other", bcrypt.gensalt(4))
    assert judged(users, {b"alice": other}, header, "127.0.0.1") is Verdict.UNKNOWN
    assert judged(users, {b"bob": HASH.encode()}, header, "127.0.0.1") is Verdict.UNKNOWN
    assert judged(users, {b"bob": HASH.encode(), b"alice": HASH.encode()}, header, "::1") is Verdict.KNOWN
    assert len(counting.hashes) == 4


class Stuck:
    """A check that ends when it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.running = 0
        self.most = 0

    def check(self, _password: bytes, _hash: bytes) -> bool:
        """Say that the password fits, in the end."""
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.release()
        assert self.go_on.wait(TIMEOUT_S)
        self.running -= 1
        return True

    async def has_begun(self) -> None:
        """Wait for a check."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=TIMEOUT_S)


def test_flood_holds_up_nobody_who_is_known(thread: SerialThread) -> None:
    """While checks of strangers run and wait, a known client is let in without one; more strangers are not checked."""
    stuck = Stuck()
    users = Users(thread, check=lambda password, hash_: password == b"known" or stuck.check(password, hash_))

    async def flood() -> None:
        assert await users.verdict(HASHES, basic("alice", "known"), "10.0.0.1") is Verdict.KNOWN
        asked = [
            asyncio.create_task(users.verdict(HASHES, basic("alice", f"wrong {number}"), f"10.9.0.{number}"))
            for number in range(20)
        ]
        await stuck.has_begun()
        done = {task for task in asked if task.done()}
        assert len(done) == 20 - MOST_CHECKS
        assert {task.result() for task in done} == {Verdict.UNCHECKED}
        assert await users.verdict(HASHES, basic("alice", "known"), "10.0.0.1") is Verdict.KNOWN
        stuck.go_on.set()
        verdicts = await asyncio.wait_for(asyncio.gather(*asked), TIMEOUT_S)
        assert verdicts.count(Verdict.KNOWN) == MOST_CHECKS

    asyncio.run(flood())
    assert stuck.most == 1


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_one_client_has_one_place(thread: SerialThread, first: str, second: str, *, same: bool) -> None:
    """An address, or a network of IPv6, cannot take the place of another one."""
    stuck = Stuck()
    users = Users(thread, check=stuck.check)

    async def ask_twice() -> tuple[Verdict, Verdict]:
        asking = asyncio.create_task(users.verdict(HASHES, basic("alice", "1"), first))
        await stuck.has_begun()
        other = asyncio.create_task(users.verdict(HASHES, basic("alice", "2"), second))
        await asyncio.sleep(0)
        assert other.done() is same
        stuck.go_on.set()
        return await asking, await other

    second_verdict = Verdict.UNCHECKED if same else Verdict.KNOWN
    assert asyncio.run(ask_twice()) == (Verdict.KNOWN, second_verdict)


def test_client_that_goes_away_gives_up_its_place(thread: SerialThread) -> None:
    """A client that is cut while its password waits or is checked leaves room for its next try."""
    stuck = Stuck()
    users = Users(thread, check=stuck.check)

    async def leave_and_come_again() -> Verdict:
        for address in ("10.0.0.1", "10.0.0.2"):
            asking = asyncio.create_task(users.verdict(HASHES, basic("alice", address), address))
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
        stuck.go_on.set()
        return await users.verdict(HASHES, basic("alice", PASSWORD), "10.0.0.2")

    assert asyncio.run(leave_and_come_again()) is Verdict.KNOWN


def test_strangers_get_a_share_of_one_core(thread: SerialThread) -> None:
    """After a wrong password bcrypt rests three times as long as it took; after a right one not at all."""
    users, _ = counted(thread, seconds=0.1)

    async def seconds_for_two(first: str) -> float:
        began = asyncio.get_running_loop().time()
        for number, password in enumerate((first, "another")):
            await users.verdict(HASHES, basic("alice", password), f"10.0.0.{number}")
        return asyncio.get_running_loop().time() - began

    rest = 0.1 / STRANGERS_SHARE - 0.1
    assert asyncio.run(seconds_for_two("wrong")) >= rest
    users, _ = counted(thread, seconds=0.1)
    assert asyncio.run(seconds_for_two(PASSWORD)) < rest


def test_memory_is_bounded(thread: SerialThread) -> None:
    """However many passwords are tried, a bounded number of digests is kept, and no password."""
    users, counting = counted(thread)
    users._check = lambda *_: False

    async def ask() -> None:
        for number in range(3000):
            await users.verdict(HASHES, basic("alice", f"pass{number}"), "10.0.0.1")

    asyncio.run(ask())
    assert len(users._wrong) == 1024
    assert all(len(digest) == 32 for digest in users._wrong)
    assert counting.hashes == []
