"""From text to settings: what a flag, an environment variable or a file says becomes a value or a ConfigError.

Owns the notations (durations, bucket lists, addresses, words of a variable); the rules of a setting are Config's. The
caller says which option the text came from. A message repeats the text only where it cannot hold a secret.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from pathlib import Path
from typing import Final

from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.errors import ConfigError

_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:ms|s|m|h|d))+")
_DURATION_PART: Final = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
_SECONDS_PER_UNIT: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_LAST_PORT: Final = 65535
_FILE_BYTES: Final = 65536
_SHOWN_CHARACTERS: Final = 60


def shown(text: str) -> str:
    """The text quoted for a message, in one short line; not quoted where it may hold a password."""
    if "://" in text or "@" in text:
        return "what was given (not repeated here, it may hold a password)"
    return ascii(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")


def parse_duration(text: str) -> float:
    """Seconds from `90`, `1.5`, `90s`, `5m`, `1h30m` or `250ms`; finite and not negative."""
    text = text.strip()
    if _DURATION.fullmatch(text):
        seconds = sum(
            float(number) * _SECONDS_PER_UNIT[unit] for number, unit in _DURATION_PART.findall(text)
        )
    elif re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text):
        seconds = float(text)
    else:
        raise ConfigError(
            f"{shown(text)} is not a duration: write seconds or for example 90s, 5m, 1h or 250ms"
        )
    if not math.isfinite(seconds):
        raise ConfigError(f"{shown(text)} is too long: write seconds or for example 90s, 5m, 1h or 250ms")
    return seconds


def parse_count(text: str) -> int:
    """A whole number; underscores may group its digits."""
    digits = text.strip().replace("_", "")
    if re.fullmatch(r"0*[0-9]{1,18}", digits) is None:
        raise ConfigError(f"{shown(text)} is not a whole number above 0: write for example 10000")
    return int(digits)


def parse_schema(text: str) -> int:
    """The resolution of native histograms, a whole number that may be negative."""
    if re.fullmatch(r"[+-]?[0-9]{1,3}", text.strip()) is None:
        raise ConfigError(f"{shown(text)} is not a whole number: write for example 3")
    return int(text)


def parse_buckets(text: str) -> tuple[float, ...]:
    """Upper bounds in seconds, comma separated; a last `inf` is dropped: every histogram has it."""
    try:
        bounds = [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"{shown(text)} is not a list of numbers: "
            "write upper bounds in seconds, smallest first, for example 0.1,1,10"
        ) from None
    return tuple(bounds[:-1] if bounds[-1] == math.inf else bounds)


def parse_listen_address(text: str) -> ListenAddress:
    """`:9808` (every interface), `127.0.0.1:9808`, `name:9808` or `[::1]:9808`; port 0 lets the system choose."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or re.fullmatch(r"[0-9]{1,5}", port) is None or int(port) > _LAST_PORT:
        raise ConfigError(f"{shown(text)} is not host:port: write for example :9808 or 127.0.0.1:9808")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ConfigError(f"{shown(text)} holds no IPv6 address: write for example [::1]:9808") from None
    elif ":" in host:
        raise ConfigError(f"{shown(text)} is ambiguous: write IPv6 in brackets, for example [::1]:9808")
    elif host and _HOST_NAME.fullmatch(host) is None:
        raise ConfigError(f"{shown(text)} holds no host name: write for example :9808 or 127.0.0.1:9808")
    return ListenAddress(host, int(port))


def parse_choice(text: str, choices: tuple[str, ...]) -> str:
    """One of these words, in upper or lower case."""
    if (word := text.strip().lower()) not in choices:
        raise ConfigError(f"{shown(text)} is not known: write one of {', '.join(choices)}")
    return word


def parse_app(text: str) -> str:
    """The name of a Celery application, `package.module` or `package.module:attribute`, as Celery's -A takes it."""
    module, _, attribute = text.partition(":")
    names = [*module.split("."), *(attribute.split(".") if ":" in text else ())]
    if not all(name.isidentifier() for name in names):
        raise ConfigError(f"{shown(text)} is not an app: write module:attribute, for example proj.celery:app")
    return text


def split_words(text: str) -> list[str]:
    """The words of a list in one variable: a JSON list of texts, or separated by whitespace or commas.

    Whitespace and commas within brackets and quotes do not separate.
    """
    if text.lstrip().startswith("["):
        try:
            items = json.loads(text)
        except (ValueError, RecursionError):
            items = None  # such as an IPv6 address, or a pattern
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return items
    words, word, depth, quoted, escaped = [], "", 0, False, False
    for char in text:
        if escaped or (quoted and char == "\\"):
            escaped = not escaped
        elif char == '"':
            quoted = not quoted
        elif not quoted:
            depth += (char in "{[") - (char in "}]")
            if depth <= 0 and (char.isspace() or char == ","):
                words.append(word)
                word = ""
                continue
        word += char
    return [word for word in (*words, word) if word]


def read_broker_url(path: str) -> str:
    """The broker URL that a file holds as its only line."""
    if "://" in path:
        raise ConfigError("a file name is needed, not a URL: write --broker-url for the URL itself")
    example = "write the broker URL into it as its only line"
    try:
        text = read_small_file(path, example).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigError(f"cannot read {shown(path)} (not a text file): {example}") from None
    if not text or len(text.split()) != 1:
        raise ConfigError(f"{shown(path)} does not hold one URL: {example}")
    return text


def read_small_file(path: str, example: str) -> bytes:
    """What a file of at most 64 KiB holds; ``example`` says what to write into it."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a file name"
        raise ConfigError(f"cannot read {shown(path)} ({reason}): {example}") from None
    if len(content) > _FILE_BYTES:
        raise ConfigError(f"{shown(path)} is longer than {_FILE_BYTES} bytes: {example}")
    return content


def readable_file(path: str) -> str:
    """The path of a file that can be read."""
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a file name"
        raise ConfigError(
            f"cannot read {shown(path)} ({reason}): write the path of a file that can be read"
        ) from None
    return path
