"""Take secrets out of a text, in all forms in which libraries and servers write them.

A form differs from the secret in single characters (percent-encoding, escapes of Python, JSON and HTML), so that a
pattern of a secret has the alternatives of each; or it is Base64, which depends on what stands before the secret.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from html import escape
from typing import Final

MASK: Final = "***"
#: Longest text about an error on a line of the log or of a page.
MAX_ERROR: Final = 260
#: A shorter secret is hidden only where it stands alone, and not in Base64.
SHORT: Final = 4
_NEVER_ENCODED: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_CONTROLS: Final = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
#: What another writer of Base64 puts in the place of a character: the alphabet for URLs, escaped or not.
_BASE64: Final = {"+": r"(?:[+-]|%2[Bb])", "/": r"(?:\\*/|_|%2[Ff])"}
_BASE64_BEFORE: Final = re.compile(r"[A-Za-z0-9+/_-]*\Z")
_BASE64_AFTER: Final = re.compile(r"[A-Za-z0-9+/_=-]*")
#: Far more than a token has before the secret: a user's name.
_LONGEST_BEFORE: Final = 400
_LATIN_1: Final = 0xFF
#: Most backslashes before an escaped character: each ``repr`` of a ``repr`` doubles them.
_LEVELS: Final = 16
_ESCAPE: Final = rf"\\{{1,{_LEVELS}}}"
_NOTHING: Final = re.compile(r"(?!)")


class Redaction:
    """Replaces secrets in a text by ``***``. Thread-safe.

    A secret of less than four characters is replaced only where it stands alone, not within a word.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._plain = self._base64 = _NOTHING
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these secrets too from now on."""
        self._secrets |= frozenset(filter(None, secrets))
        longest_first = sorted(self._secrets, key=len, reverse=True)
        cores = sorted({core for secret in longest_first for core in _base64_cores(secret)}, key=len)
        self._plain = _any_of(map(_pattern, longest_first))
        self._base64 = _any_of("".join(_BASE64.get(c, c) for c in core) for core in reversed(cores))

    def __call__(self, text: str) -> str:
        """The text with every secret replaced."""
        return self._without_base64(self._plain.sub(MASK, text))

    def brief(self, text: str) -> str:
        """The text with every secret replaced, and cut where it is long: not before, that would cut secrets in two."""
        text = self(text)
        return text if len(text) <= MAX_ERROR else f"{text[: MAX_ERROR - 3]}..."

    def _without_base64(self, text: str) -> str:
        """Replace whole words of Base64 with a secret in them: beside it are the user's name, and bits of it."""
        parts, end = [], 0
        for found in self._base64.finditer(text):
            if found.start() < end:
                continue
            before = _BASE64_BEFORE.search(text, max(end, found.start() - _LONGEST_BEFORE), found.start())
            after = _BASE64_AFTER.match(text, found.end())
            parts += [text[end : before.start() if before else found.start()], MASK]
            end = after.end() if after else found.end()
        return "".join((*parts, text[end:]))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    joined = "|".join(patterns)
    return re.compile(joined) if joined else _NOTHING


def _pattern(secret: str) -> str:
    # Of backslashes in a row there may be any number: a traceback shows the repr of texts that may hold a repr.
    parts = re.split(r"(\\+)", secret)
    pattern = "".join(
        rf"(?:\\|%5[Cc]){{1,{_LEVELS * len(part)}}}"
        if part.startswith("\\")
        else "".join(map(_character, part))
        for part in parts
    )
    return rf"(?<!\w)(?<!\w[.-]){pattern}(?!\w)(?![.-]\w)" if len(secret) < SHORT else pattern


def _character(character: str) -> str:
    """A pattern of all that may stand for a character."""
    if character in _NEVER_ENCODED:
        return character
    return f"(?:{'|'.join(_alternatives(character))})"


def _alternatives(character: str) -> Iterator[str]:
    code, raw = ord(character), character.encode(errors="surrogatepass")
    escaped = character.isprintable() and character.isascii()  # by a backslash before it
    yield (rf"\\{{0,{_LEVELS}}}" if escaped else "") + re.escape(character)
    yield _hexadecimal("%", raw)
    yield _hexadecimal(rf"{_ESCAPE}x", raw)
    yield _hexadecimal(rf"{_ESCAPE}u", character.encode("utf-16-be", errors="surrogatepass"), size=2)
    yield rf"{_ESCAPE}U(?i:{code:08x})"
    if character == " ":
        yield r"\+"
    if character in _CONTROLS:
        yield rf"{_ESCAPE}{_CONTROLS[character]}"
    if (entity := escape(character)) != character:
        yield entity
    if character == "'":
        yield "&#39;"
    if not character.isascii() and code <= _LATIN_1:
        yield rf"{_ESCAPE}x(?i:{code:02x})"
        yield rf"%(?i:{code:02x})"
    if len(raw) > 1:  # UTF-8 that was read as Latin-1, as HTTP's headers are
        yield re.escape(raw.decode("latin-1"))


def _hexadecimal(prefix: str, raw: bytes, *, size: int = 1) -> str:
    parts = (raw[start : start + size].hex() for start in range(0, len(raw), size))
    return "".join(f"{prefix}(?i:{part})" for part in parts)


def _base64_cores(secret: str) -> Iterator[str]:
    """The characters that Base64 has for the secret, whatever stands before and after it: of each alignment."""
    encodings = {secret.encode(errors="surrogatepass")}
    with suppress(UnicodeEncodeError):
        encodings.add(secret.encode("latin-1"))
    for raw in encodings:
        for before in range(3) if len(raw) >= SHORT else ():
            encoded = b64encode(bytes(before) + raw + bytes(2)).decode()
            core = encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
            if len(core) >= SHORT:
                yield core
