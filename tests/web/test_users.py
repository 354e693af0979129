"""Who is let in by basic authentication, and how much work strangers can cause."""

import base64
import threading
from collections.abc import Mapping

import bcrypt
import pytest

from celery_metrics_exporter.web.users import MOST_CHECKS, STRANGERS_SHARE, Users, Verdict
from tests.waiting import wait_for
from tests.web_files import HASH, PASSWORD

TIMEOUT_S = 20.0
HASHES: Mapping[bytes, bytes] = {b"alice": HASH.encode(), "bj\xf6rn".encode(): HASH.encode()}


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


def counted(seconds: float = 0.0) -> tuple[Users, Counting]:
    """Users whose checks are counted."""
    counting = Counting(seconds)
    return Users(check=counting.check, cpu_seconds=counting.cpu), counting


@pytest.mark.parametrize("user", ["alice", "bj\xf6rn"])
@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_right_password(user: str, scheme: str) -> None:
    """A user of the file with the password of the hash is known."""
    header = basic(user, PASSWORD).replace("Basic", scheme)
    assert Users().verdict(HASHES, header, "127.0.0.1") is Verdict.KNOWN


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
def test_everything_else_is_unknown(header: str | None) -> None:
    """No credentials, broken ones, a wrong password and a name that is not in the file come to the same."""
    assert Users().verdict(HASHES, header, "127.0.0.1") is Verdict.UNKNOWN


def test_password_counts_to_its_72nd_byte() -> None:
    """Longer passwords are cut as Go's bcrypt does, which is what the toolkit accepts."""
    long = "x" * 80
    hashes = {b"alice": bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4))}
    assert Users().verdict(hashes, basic("alice", long), "127.0.0.1") is Verdict.KNOWN


def test_each_password_is_checked_once() -> None:
    """Right and wrong ones are remembered, so that a scrape costs no bcrypt."""
    users, counting = counted()
    for _ in range(3):
        assert users.verdict(HASHES, basic("alice", PASSWORD), "127.0.0.1") is Verdict.KNOWN
        assert users.verdict(HASHES, basic("alice", "wrong"), "127.0.0.1") is Verdict.UNKNOWN
        assert users.verdict(HASHES, basic("mallory", PASSWORD), "127.0.0.1") is Verdict.UNKNOWN
    assert len(counting.hashes) == 3


def test_unknown_user_costs_as_much_as_a_known_one() -> None:
    """A name that is not in the file is checked too, always against the same hash of the file, and never let in."""
    users, counting = counted()
    hashes = {b"a%d" % number: bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)) for number in range(8)}
    for password in (PASSWORD, "wrong", "other"):
        assert users.verdict(hashes, basic("mallory", password), "127.0.0.1") is Verdict.UNKNOWN
    assert len(counting.hashes) == 3
    assert len(set(counting.hashes)) == 1
    assert counting.hashes[0] in hashes.values()


def test_change_of_the_file_holds_at_once() -> None:
    """What was remembered of another version of the file does not count: users go, and come back."""
    users, counting = counted()
    header = basic("alice", PASSWORD)
    assert users.verdict(HASHES, header, "127.0.0.1") is Verdict.KNOWN
    other = bcrypt.hashpw(b"other", bcrypt.gensalt(4))
    assert users.verdict({b"alice": other}, header, "127.0.0.1") is Verdict.UNKNOWN
    assert users.verdict({b"bob": HASH.encode()}, header, "127.0.0.1") is Verdict.UNKNOWN
    assert users.verdict({b"bob": HASH.encode(), b"alice": HASH.encode()}, header, "::1") is Verdict.KNOWN
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


def test_flood_holds_up_nobody_who_is_known() -> None:
    """While checks of strangers run and wait, a known client is let in without one; more strangers are not checked."""
    stuck = Stuck()
    users = Users(check=lambda password, hash_: password == b"known" or stuck.check(password, hash_))
    assert users.verdict(HASHES, basic("alice", "known"), "10.0.0.1") is Verdict.KNOWN
    verdicts: list[Verdict] = []

    def ask(number: int) -> None:
        verdicts.append(users.verdict(HASHES, basic("alice", f"wrong {number}"), f"10.9.0.{number}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    assert stuck.begun.acquire(timeout=TIMEOUT_S)
    wait_for(lambda: len(verdicts) == 20 - MOST_CHECKS, timeout=TIMEOUT_S, what="those without a place")
    assert set(verdicts) == {Verdict.UNCHECKED}
    assert users.verdict(HASHES, basic("alice", "known"), "10.0.0.1") is Verdict.KNOWN
    stuck.go_on.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert stuck.most == 1
    assert len(verdicts) == 20


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
def test_one_client_has_one_place(first: str, second: str, *, same: bool) -> None:
    """An address, or a network of IPv6, cannot take the place of another one."""
    stuck = Stuck()
    users = Users(check=stuck.check)
    asking = threading.Thread(target=users.verdict, args=(HASHES, basic("alice", "1"), first))
    asking.start()
    assert stuck.begun.acquire(timeout=TIMEOUT_S)
    verdicts: list[Verdict] = []
    other = threading.Thread(
        target=lambda: verdicts.append(users.verdict(HASHES, basic("alice", "2"), second))
    )
    other.start()
    if same:
        other.join(TIMEOUT_S)
        assert verdicts == [Verdict.UNCHECKED]
    stuck.go_on.set()
    for thread in (asking, other):
        thread.join(TIMEOUT_S)
    assert verdicts == [Verdict.UNCHECKED if same else Verdict.KNOWN]


def test_strangers_get_a_share_of_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wrong password bcrypt rests three times as long as it took; after a right one not at all."""
    now = [1000.0]
    monkeypatch.setattr("celery_metrics_exporter.web.users.time.monotonic", lambda: now[0])
    users, _ = counted(seconds=2.0)
    rests: list[float] = []

    def rest(seconds: float) -> bool:
        rests.append(seconds)
        now[0] += seconds
        return False

    monkeypatch.setattr(users._over, "wait", rest)
    for number, password in enumerate(("wrong", PASSWORD, "bad", "worse")):
        users.verdict(HASHES, basic("alice", password), f"10.0.0.{number}")
    assert rests == [2.0 / STRANGERS_SHARE - 2.0] * 2


def test_nobody_rests_when_the_server_stops() -> None:
    """A client that waits for its check is let go."""
    users, _ = counted(seconds=1000.0)
    users.verdict(HASHES, basic("alice", "wrong"), "10.0.0.1")
    users.close()
    assert users.verdict(HASHES, basic("alice", PASSWORD), "10.0.0.2") is Verdict.UNCHECKED


def test_memory_is_bounded() -> None:
    """However many passwords are tried, a bounded number of digests is kept, and no password."""
    users, counting = counted()
    users._check = lambda *_: False
    for number in range(3000):
        users.verdict(HASHES, basic("alice", f"pass{number}"), "10.0.0.1")
    assert len(users._wrong._digests) == 1024
    assert all(len(digest) == 32 for digest in users._wrong._digests)
    assert counting.hashes == []
