"""Notations: what text becomes, and that a refusal is one line that says what to write."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_metrics_exporter.config import parse
from celery_metrics_exporter.config.config import Config, ListenAddress
from celery_metrics_exporter.config.transport_options import transport_options
from celery_metrics_exporter.errors import ConfigError

PARSERS: list[Callable[[str], object]] = [
    parse.parse_duration,
    parse.parse_count,
    parse.parse_buckets,
    parse.parse_listen_address,
    parse.parse_app,
    parse.readable_file,
    parse.read_broker_url,
    lambda text: parse.parse_choice(text, ("one", "two")),
    lambda text: transport_options([text]),
]


def refusal_of(parser: Callable[[str], object], text: str) -> str:
    """The line with which a text is refused; empty when it is accepted."""
    try:
        parser(text)
    except ConfigError as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        (".5", 0.5),
        ("90s", 90),
        ("5m", 300),
        ("1h", 3600),
        ("250ms", 0.25),
        ("1h30m", 5400),
        (" 2d ", 172800),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    """Seconds or numbers with units, which may be joined."""
    assert parse.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "x", "-1", "1y", "5 m", "nan", "inf", "1e3", "٣", "9" * 400, "m"])
def test_text_that_is_no_duration(text: str) -> None:
    """The refusal shows the notations."""
    with pytest.raises(ConfigError, match="write seconds or for example 90s"):
        parse.parse_duration(text)


def test_buckets() -> None:
    """A last inf is dropped, spaces are allowed."""
    assert parse.parse_buckets("0.1, 1,10,+Inf") == (0.1, 1.0, 10.0)
    assert parse.parse_buckets("5") == (5.0,)


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1,", "1;2"])
def test_text_that_is_no_bucket_list(text: str) -> None:
    """The refusal shows a list that works."""
    with pytest.raises(ConfigError, match=r"for example 0\.1,1,10"):
        parse.parse_buckets(text)


@pytest.mark.parametrize("text", ["0,1", "-1", "2,1", "1,1", "inf", "1,inf,2", "nan", "inf,inf"])
def test_bucket_list_that_cannot_work_is_refused_by_config(text: str) -> None:
    """So are buckets that are numbers but no increasing list of them."""
    buckets = parse.parse_buckets(text)
    with pytest.raises(ConfigError, match=r"--runtime-buckets .*for example 0\.1,1,10"):
        Config(broker_url="memory://", runtime_buckets=buckets)


@given(bounds=st.lists(st.floats(min_value=1e-6, max_value=1e9), min_size=1, unique=True).map(sorted))
def test_increasing_bounds_survive_the_notation(bounds: list[float]) -> None:
    """Any increasing list of positive numbers is taken as it is."""
    assert parse.parse_buckets(",".join(map(repr, bounds))) == tuple(bounds)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":9808", "", 9808),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("0.0.0.0:80", "0.0.0.0", 80),  # noqa: S104 - read, not bound
        ("[::1]:9808", "::1", 9808),
        ("[::]:65535", "::", 65535),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("my-host.example:1234", "my-host.example", 1234),
    ],
)
def test_listen_address(text: str, host: str, port: int) -> None:
    """Names, IPv4, IPv6 in brackets, or no host at all."""
    address = parse.parse_listen_address(text)
    assert address == ListenAddress(host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9808",
        "host",
        ":",
        ":x",
        ":65536",
        ":-1",
        "::1:9808",
        "[x]:1",
        "[::1]",
        "a b:1",
        "http://h:1",
        "h/:1",
        "*:1",
    ],
)
def test_text_that_is_no_listen_address(text: str) -> None:
    """The refusal shows an address that works."""
    with pytest.raises(ConfigError, match=r"write .*9808"):
        parse.parse_listen_address(text)


def test_count() -> None:
    """Digits may be grouped."""
    assert parse.parse_count("1_000_000") == 1_000_000
    for text in ("", "-1", "1.5", "x", "9" * 30):
        with pytest.raises(ConfigError, match="whole number above 0"):
            parse.parse_count(text)
    with pytest.raises(ConfigError, match="--max-series must be at least 1"):
        Config(broker_url="memory://", max_series=parse.parse_count("0"))


def test_app() -> None:
    """A module, with or without the attribute."""
    assert parse.parse_app("proj.celery:app") == "proj.celery:app"
    assert parse.parse_app("proj") == "proj"
    for text in ("", "proj/celery.py", "a:b:c", "proj:", "proj..x", "a b"):
        with pytest.raises(ConfigError, match=r"proj\.celery:app"):
            parse.parse_app(text)


def test_words_of_a_variable() -> None:
    """Whitespace and commas separate, but not within JSON."""
    assert parse.split_words(" :9808, [::1]:1\n:2 ") == [":9808", "[::1]:1", ":2"]
    assert parse.split_words('a={"x": [1, 2], "y": "p, \\" q"} b=2') == [
        'a={"x": [1, 2], "y": "p, \\" q"}',
        "b=2",
    ]
    assert parse.split_words("") == []


def test_words_of_a_variable_as_json() -> None:
    """A JSON list of texts holds any of them; what only looks like one is words."""
    assert parse.split_words(' ["mail, slow", "a b", "\\u0022"]\n') == ["mail, slow", "a b", '"']
    assert parse.split_words("[]") == []
    assert parse.split_words("[ab]* [1]") == ["[ab]*", "[1]"]
    assert parse.split_words("[1]") == ["[1]"]
    assert parse.split_words('["a"') == ['["a"']


def test_broker_url_from_a_file(tmp_path: Path) -> None:
    """The line end that editors and secret stores add does not count."""
    file = tmp_path / "url"
    file.write_text("\ufeffredis://:secret@host/0\r\n", encoding="utf-8")
    assert parse.read_broker_url(str(file)) == "redis://:secret@host/0"


@pytest.mark.parametrize("content", [b"", b"\n \n", b"redis://:secret@a\nredis://b", b"\xff\xfe"])
def test_file_that_holds_no_url_is_refused(tmp_path: Path, content: bytes) -> None:
    """The refusal names the file, never its content."""
    file = tmp_path / "url"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="as its only line") as refusal:
        parse.read_broker_url(str(file))
    assert "secret" not in str(refusal.value)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Missing files, directories and impossible names; and a URL in the place of a name is not repeated."""
    for path in (str(tmp_path / "none"), str(tmp_path), "a\0b"):
        for read in (parse.read_broker_url, parse.readable_file):
            with pytest.raises(ConfigError, match="cannot read"):
                read(path)
    with pytest.raises(ConfigError, match="--broker-url") as refusal:
        parse.read_broker_url("redis://:secret@host")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("parser", PARSERS)
@given(text=st.text() | st.text(alphabet="0123456789.,:[]{}smhd=ainf-\n/@"))
def test_any_text_is_parsed_or_refused_in_one_line(parser: Callable[[str], object], text: str) -> None:
    """Nothing but ConfigError ever comes out, printable and in one line, whatever is written."""
    assert refusal_of(parser, text).isprintable()


@pytest.mark.parametrize("parser", PARSERS)
@given(password=st.text(min_size=1).map(lambda text: "pW9xQ" + text))
def test_refusal_never_repeats_what_looks_like_a_url(parser: Callable[[str], object], password: str) -> None:
    """A URL that slips into the wrong option does not show its password."""
    with pytest.raises(ConfigError) as refusal:
        parser(f"redis://user:{password}@host/0")
    assert "pW9xQ" not in str(refusal.value)
