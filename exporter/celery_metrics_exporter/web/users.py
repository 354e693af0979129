"""Who a client is: HTTP basic authentication against bcrypt hashes, which cost what they must and no more.

Owns the verdict on an Authorization header and the time spent on it.

A right password is checked once, then known by a digest with a random key of this process; so is a wrong one. bcrypt
runs in one thread at a time. After a wrong password it rests for three times as long as it took, so that strangers
take a quarter of one core at most. A client (an IPv4 address, or a /64 of IPv6) has one check waiting or running, all
clients together four; what is beyond is not checked at all. Of those that wait, who asked least lately comes first. So
a flood holds up nobody who is known, and whoever comes anew from another address waits for the check that runs, with
the rest after it, and for others that come anew: three checks at most.

bcrypt releases the interpreter's lock: of other threads' time it takes what the system's scheduler gives it.
Facts: prometheus/exporter-toolkit, web/handler.go (ServeHTTP).
"""

import base64
import binascii
import hashlib
import ipaddress
import secrets
import time
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Final

import bcrypt

from celery_metrics_exporter.web.serial_thread import SerialThread
from celery_metrics_exporter.web.turns import Turns

#: Of one core, at most, for the passwords of strangers.
STRANGERS_SHARE: Final = 0.25
#: Checks that wait or run at once.
MOST_CHECKS: Final = 4

_REMEMBERED = 1024  # digests of each kind, 32 bytes
_READ_BYTES = 72  # bcrypt looks at no more of a password; Go's cuts it silently, Python's has to be told


class Verdict(Enum):
    """What is known of a client."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    UNCHECKED = "unchecked"


class Users:
    """Checks credentials, in one loop. Hashes are given with each question, since they may change."""

    def __init__(
        self,
        thread: SerialThread,
        *,
        check: Callable[[bytes, bytes], bool] = bcrypt.checkpw,
        cpu_seconds: Callable[[], float] = time.thread_time,
    ) -> None:
        """Args:
        thread: where checks are made.
        check: whether a password fits a hash.
        cpu_seconds: what the current thread has used of a core.
        """
        self._thread = thread
        self._check = check
        self._cpu_seconds = cpu_seconds
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}  # digests, the oldest first
        self._wrong: dict[bytes, None] = {}  # apart, so that strangers cannot make known clients forgotten
        self._hashes: Mapping[bytes, bytes] | None = None
        self._turns = Turns(MOST_CHECKS - 1)
        self._rested_at = 0.0  # monotonic

    async def verdict(
        self, hashes: Mapping[bytes, bytes], authorization: str | None, address: str
    ) -> Verdict:
        """Judge a header ``Authorization`` (in Latin-1) that came from an IP address.

        ``hashes``: user -> bcrypt hash. May take as long as some checks take.
        """
        credentials = _credentials(authorization)
        if credentials is None:
            return Verdict.UNKNOWN
        user, password = credentials
        known = hashes.get(user)
        # Somebody's hash stands in for that of a user who does not exist: the answer takes as long either way.
        hash_ = known if known is not None else self._stand_in(hashes, user)
        digest = self._digest(b"1" if known else b"0", user, hash_, password)
        remembered = self._remembered(hashes, digest)
        if remembered is not None:
            return remembered
        if not await self._turns.begin(_network(address)):
            return Verdict.UNCHECKED
        try:
            remembered = self._remembered(hashes, digest)  # somebody else may have asked meanwhile
            return remembered or await self._checked(hash_, password, digest, exists=known is not None)
        finally:
            self._turns.end(self._rested_at - time.monotonic())

    def _remembered(self, hashes: Mapping[bytes, bytes], digest: bytes) -> Verdict | None:
        if hashes is not self._hashes:  # the file has changed
            self._hashes = hashes
            self._right.clear()
            self._wrong.clear()
        if digest in self._right:
            return Verdict.KNOWN
        return Verdict.UNKNOWN if digest in self._wrong else None

    async def _checked(self, hash_: bytes, password: bytes, digest: bytes, *, exists: bool) -> Verdict:
        right = await self._thread.run(partial(self._check_now, hash_, password, exists=exists))
        digests = self._right if right else self._wrong
        digests[digest] = None
        if len(digests) > _REMEMBERED:
            del digests[next(iter(digests))]
        return Verdict.KNOWN if right else Verdict.UNKNOWN

    def _check_now(self, hash_: bytes, password: bytes, *, exists: bool) -> bool:
        begun = self._cpu_seconds()
        right = self._check(password, hash_) and exists
        if not right:
            used = self._cpu_seconds() - begun
            self._rested_at = time.monotonic() + used * (1 / STRANGERS_SHARE - 1)
        return right

    def _stand_in(self, hashes: Mapping[bytes, bytes], user: bytes) -> bytes:
        # The same one each time, so that its cost tells no more of a user than that of a hash of their own.
        number = int.from_bytes(self._digest(user)) % len(hashes)
        return tuple(hashes.values())[number]

    def _digest(self, *parts: bytes) -> bytes:
        digest = hashlib.blake2b(key=self._key, digest_size=32)
        for part in parts:
            digest.update(len(part).to_bytes(4) + part)
        return digest.digest()


def _credentials(authorization: str | None) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = text.partition(b":")
    return (user, password[:_READ_BYTES]) if colon else None


def _network(address: str) -> str:
    """What one client can hardly have two of: an IPv4 address, a /64 of IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))
