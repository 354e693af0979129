"""Redaction: every form of a secret is hidden, and little else."""

import html
import json
import re
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_metrics_exporter.config.broker_url import url_secrets
from celery_metrics_exporter.redaction import MAX_ERROR, Redaction

MARK = "pW9xQ"
SECRETS = (
    "known-to-nobody",
    "a+b/c d&e<f>g=h",
    "p%40ss@word",
    "quo'te\"\\back",
    "häßlich",
    "\u65e5\U0001f600x",
    "new\nline",
)

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "repr": repr,
    "repr of repr": lambda text: repr(repr(text)),
    "ascii": ascii,
    "bytes": lambda text: repr(text.encode()),
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON of PHP": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON of Go": lambda text: json.dumps(text).replace("&", "\\u0026").replace("<", "\\u003C"),
    "quoted": quote,
    "quoted whole": lambda text: quote(text, safe=""),
    "quoted in lower case": lambda text: re.sub("%..", lambda part: part[0].lower(), quote(text, safe="")),
    "quoted but for some": lambda text: quote(text, safe="@:/+&="),
    "form": quote_plus,
    "HTML": html.escape,
    "UTF-8 as Latin-1": lambda text: text.encode().decode("latin-1"),
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_secret(secret: str, form: str) -> None:
    """Whoever writes it, in whichever way, a secret is replaced and its surroundings stay."""
    written = FORMS[form](secret)
    bare = written.strip("'\"") if form in ("repr", "ascii", "JSON") else written
    assert Redaction([secret])(f"one {bare} two").replace("b'***'", "***").split() in (
        ["one", "***", "two"],
        ["one", '"***"', "two"],
        ["one", "'***'", "two"],
        ["one", "\"'***'\"", "two"],
        ["one", '"\\"***\\""', "two"],
        ["one", "'\"***\"'", "two"],
        ["one", "'\\'***\\''", "two"],
    )


@pytest.mark.parametrize("before", ["", "u:", "us:", "user:", "\0user\0", '{"a": "'])
@pytest.mark.parametrize("after", ["", "x", '"}', "@host/vhost"])
@pytest.mark.parametrize("secret", [*SECRETS, "four"])
def test_base64(before: str, after: str, secret: str) -> None:
    """In each alignment, in both alphabets, with and without padding; the whole word goes, with the user in it."""
    redaction = Redaction([secret])
    for encode in (b64encode, urlsafe_b64encode):
        token = encode(f"{before}{secret}{after}".encode()).decode()
        for written in (
            token,
            token.rstrip("="),
            quote(token, safe="").replace("%3D", "="),
            token.replace("/", "\\/"),
        ):
            found = redaction(f"Authorization: Basic {written}, one")
            assert found.startswith("Authorization: Basic ")
            assert found.endswith("***, one")
            assert token[-8:].rstrip("=") not in found


def test_base64_of_latin_1() -> None:
    """Some clients encode a header so."""
    token = b64encode("user:häßlich".encode("latin-1")).decode()
    assert Redaction(["häßlich"])(token) == "***"


def test_short_password_in_a_url_is_known_with_its_user() -> None:
    """Too short for Base64 of its own, it is hidden where basic authentication sends it."""
    redaction = Redaction(url_secrets("http://guest:ab@host"))
    assert redaction(f"Basic {b64encode(b'guest:ab').decode()} absent table") == "Basic *** absent table"
    assert redaction("guest:ab") == "***"


def test_other_base64_stays() -> None:
    """A certificate, a hash, an id: what holds no secret is shown."""
    text = b64encode(bytes(range(256)) * 20).decode()
    assert Redaction(["known-to-nobody", "a", "guest"])(text) == text


def test_short_secret_is_hidden_where_it_stands_alone() -> None:
    """A password of one letter must not blank every word."""
    redaction = Redaction(["a"])
    assert redaction("redis://:a@host/data 'a'") == "redis://:***@host/data '***'"


def test_longer_secret_is_hidden_whole() -> None:
    """A secret that contains another one leaves no rest."""
    assert Redaction(["pass", "password"])("password pass") == "*** ***"
    assert Redaction(["", "x1y2"])("") == ""


@pytest.mark.parametrize("secret", ["a", "ab", "abc", "1", "-"])
def test_short_secret_leaves_the_log_readable(secret: str) -> None:
    """Words, numbers and Base64 with the same letters stay."""
    line = "absent table, 1.5 of 10 abcdef YWJjZA== re-read"
    assert Redaction([secret])(line) == line


def test_cut_text_ends_outside_secrets() -> None:
    """Long texts are cut after their secrets are replaced."""
    redaction = Redaction(["hunter22"])
    assert redaction.brief("x" * 400) == "x" * (MAX_ERROR - 3) + "..."
    assert redaction.brief("hunter22 " * 50) == "*** " * 50
    assert (
        redaction.brief("x" * (MAX_ERROR - 6) + "hunter22" + "y" * 50)
        == "x" * (MAX_ERROR - 6) + "***" + "..."
    )


@given(
    secret=st.text(min_size=1, max_size=12).map(lambda text: MARK + text + MARK),
    form=st.sampled_from([form for form in FORMS if form not in ("bytes", "quoted", "UTF-8 as Latin-1")]),
)
def test_no_form_of_any_secret_is_left(secret: str, form: str) -> None:
    """Whatever characters are in it."""
    try:
        written = FORMS[form](secret)
    except UnicodeEncodeError:
        return
    assert MARK not in Redaction([secret])(f"{written} {written}")


@pytest.mark.parametrize(
    "text", ["A" * 200_000, "\\" * 20_000, "%41" * 50_000, "QUFB" * 50_000 + "!", "'" * 50_000]
)
def test_hostile_text_takes_little_time(text: str) -> None:
    """Nobody can hold up the log by what he makes a server say."""
    redaction = Redaction(["\\\\'x", "AAAAAAAAAB", "known-to-nobody", "'" * 20 + "x", "%41%42"])
    began = time.monotonic()
    redaction(text)
    assert time.monotonic() - began < 2
