"""Mutants of recorded messages: of their bytes, of the JSON in them, and of the envelope around them."""

from __future__ import annotations

import bz2
import json
import lzma
import pickle
import random
import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from tests.recordings import VERSIONS, load

#: Values that no sender of Celery's writes at most places.
HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7.5, 1e308, -1e308, 5e-324, 2**31, 2**63, 2**64, -(2**63), 10**400),
    *(float("nan"), float("inf"), float("-inf"), 1.0, 1e9, 1.7e9, 1.7e12, 95_617_584_000.0, -62e9),
    *(
        "",
        " ",
        "\x00",
        "\ud800",
        "\udfff\ud800",
        "\u202e",
        "a\nb\x1b[31m",
        "1",
        "NaN",
        "null",
        "x" * 600,
        "ż" * 501,
    ),
    *("0001-01-01T00:00:00", "9999-12-31T23:59:59+14:00", "2026-13-45", '"', "\\", "{}", "[]"),
    *([], {}, [[]], [None], {"type": "task-sent"}, [{}] * 3, {"": {}}, [[[[[[[[]]]]]]]]),
    *("task-sent", "task-started", "worker-heartbeat", "task-", "w@h", "gen1@h"),
)
TIMES: tuple[Any, ...] = (
    1.0,
    86_400.0,
    1e9,
    1.7e9,
    4e9,
    9.9e9,
    1.7e12,
    95_617_584_000.0,
    -62e9,
    0,
    float("nan"),
    "1.7e9",
)
RARE: tuple[Any, ...] = ("x" * 1_000_000, list(range(10_000)), {str(n): n for n in range(5_000)})
FIELDS = (
    *(
        "type",
        "uuid",
        "hostname",
        "timestamp",
        "name",
        "queue",
        "retries",
        "eta",
        "parent_id",
        "pid",
        "runtime",
    ),
    *("exception", "traceback", "requeue", "terminated", "expired", "freq", "active", "processed", "loadavg"),
    *("sw_ident", "sw_ver", "sw_sys", "clock", "utcoffset", "", "\ud800"),
)
PACKERS: tuple[Callable[[bytes], bytes], ...] = (zlib.compress, bz2.compress, lzma.compress, bytes)
TOKENS: tuple[bytes, ...] = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"\\",
        b"\\u",
        b"NaN",
        b"null",
        b"1e999",
        b"9" * 5000,
        b"\xff",
    ),
    *(
        b"\x00",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"[" * 3000,
        b'{"":' * 3000,
        b" " * 2000,
        b"\n",
        b"'",
        b"-",
        b".",
    ),
)


class _Trap:
    """A pickle of this ends the fuzzer when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exit, (99,))


PICKLE = pickle.dumps(_Trap())


class Mutants:
    """An endless supply of them, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._bodies = [body for version in VERSIONS for body in load(version).bodies]
        self._contents = [json.loads(body) for body in self._bodies]

    def body(self) -> bytes:
        """One that may be no JSON."""
        draw = self._random.random()
        if draw < 0.45:
            return self._mutated_bytes(self._random.choice(self._bodies))
        body = self.json()
        return self._mutated_bytes(body) if draw < 0.6 else self._encoded(body)

    def json(self) -> bytes:
        """One that is what Python's own ``json`` takes for JSON."""
        content = json.loads(json.dumps(self._random.choice(self._contents)))
        for _ in range(self._random.randint(1, 3)):
            content = self._mutated_content(content)
        return json.dumps(content).encode()

    def envelope(self, body: bytes) -> bytes:
        """One with this body, mutated itself now and then."""
        chance = self._random.random
        headers: dict[str, Any] = {"hostname": "w@h"}
        content_type: Any = "application/json"
        if chance() < 0.03:
            name = self._random.choice(["application/x-gzip", "bzip2", "xz", "brotli", "zstd", 7, None, "x"])
            headers["compression"] = name
            body = self._random.choice(PACKERS)(body)
        if chance() < 0.03:
            kinds = [
                "application/x-python-serialize",
                "application/x-yaml",
                "application/data",
                "text/plain",
                None,
                5,
            ]
            content_type = self._random.choice(kinds)
            body = PICKLE if chance() < 0.5 else body
        content = {
            "body": b64encode(body).decode(),
            "content-type": content_type,
            "content-encoding": self._random.choice(["utf-8", "binary", "zlib_codec", None])
            if chance() < 0.03
            else "utf-8",
            "headers": headers,
            "properties": {"body_encoding": "base64", "delivery_info": {}, "delivery_tag": "x"},
        }
        if chance() < 0.1:
            content = self._mutated_content(content)
        wire = json.dumps(content).encode()
        return self._mutated_bytes(wire) if chance() < 0.1 else wire

    def _encoded(self, body: bytes) -> bytes:
        if self._random.random() < 0.95:
            return body
        text = body.decode()
        coding = self._random.choice(["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
        return text.encode(coding, "replace")

    def _mutated_bytes(self, body: bytes) -> bytes:
        choose = self._random
        for _ in range(choose.randint(1, 4)):
            at = choose.randint(0, len(body))
            to = min(len(body), at + choose.randint(0, choose.choice([1, 8, 200])))
            kind = choose.randrange(7)
            if kind == 0:  # flip
                body = body[:at] + bytes(byte ^ 1 << choose.randrange(8) for byte in body[at:to]) + body[to:]
            elif kind == 1:  # cut out
                body = body[:at] + body[to:]
            elif kind == 2:  # truncate
                body = body[:at]
            elif kind == 3:  # repeat
                body = body[:at] + body[at:to] * choose.randint(2, 5) + body[to:]
            elif kind == 4:  # splice
                other = choose.choice(self._bodies)
                body = body[:at] + other[choose.randint(0, len(other)) :]
            elif kind == 5:
                body = body[:at] + choose.choice(TOKENS) + body[to:]
            else:
                body = body[:at] + choose.randbytes(to - at) + body[to:]
        return body

    def _mutated_content(self, content: Any) -> Any:
        """The same with one thing changed somewhere."""
        if isinstance(content, list) and content:
            return self._mutated_list(content)
        if isinstance(content, dict) and content:
            return self._mutated_object(content)
        return self._random.choice([self._value(), [content], [content, content], {"type": content}])

    def _mutated_list(self, content: list[Any]) -> list[Any]:
        choose = self._random
        at = choose.randrange(len(content))
        kind = choose.randrange(6)
        if kind == 0:
            return [*content[:at], *content[at + 1 :]]
        if kind == 1:
            return content * choose.choice([2, 3, 20])
        if kind == 2:
            return [*content[:at], self._value(), *content[at:]]
        return [*content[:at], self._mutated_content(content[at]), *content[at + 1 :]]

    def _mutated_object(self, content: dict[str, Any]) -> dict[str, Any]:
        choose = self._random
        if choose.random() < 0.1:
            return {**content, "timestamp": choose.choice(TIMES)}
        key = choose.choice(list(content) if choose.random() < 0.8 else FIELDS)
        if choose.random() < 0.1:
            return {name: value for name, value in content.items() if name != key}
        inner = content.get(key)
        deeper = isinstance(inner, dict | list) and choose.random() < 0.5
        return {**content, key: self._mutated_content(inner) if deeper else self._value()}

    def _value(self) -> Any:
        choose = self._random
        draw = choose.random()
        if draw < 0.001:
            return choose.choice(RARE)
        if draw < 0.3:  # what stands elsewhere in a real message
            other = choose.choice(self._contents)
            other = other[0] if isinstance(other, list) and other else other
            return choose.choice([other, *other.values()]) if isinstance(other, dict) else other
        return choose.choice(HOSTILE)
