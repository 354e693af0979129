"""Transport options: from items, JSON and a file, and that no message repeats a value."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celery_metrics_exporter.config.config import Config, secrets
from celery_metrics_exporter.config.transport_options import check_types, lay_over, transport_options
from celery_metrics_exporter.config.transport_options_file import options_in
from celery_metrics_exporter.errors import ConfigError

SENTINEL = {"master_name": "main", "sentinel_kwargs": {"password": "a b,c'\"", "db": 2}}


def of_file(folder: Path, content: str | bytes, *items: str) -> dict[str, object]:
    """The options of a file with this content, and of items."""
    file = folder / "options.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    options = options_in(str(file))
    lay_over(options, transport_options(items))
    return options


def test_transport_options() -> None:
    """JSON where it parses, text elsewhere; a dotted key nests; what is named a password stays text."""
    items = [
        "visibility_timeout=3600",
        "fanout_prefix=true",
        "name=a=b",
        "empty=",
        'list=["x", 1]',
        "master_name=main",
    ]
    nested = ["sentinel_kwargs.password=0123", "sentinel_kwargs.db=2", "password=1e5", 'a.b.token="q"']
    assert transport_options([*items, *nested]) == {
        "visibility_timeout": 3600,
        "fanout_prefix": True,
        "name": "a=b",
        "empty": "",
        "list": ["x", 1],
        "master_name": "main",
        "sentinel_kwargs": {"password": "0123", "db": 2},
        "password": "1e5",
        "a": {"b": {"token": "q"}},
    }


def test_transport_option_that_nests_in_a_plain_value_is_refused() -> None:
    """The line names the keys, never the value."""
    with pytest.raises(ConfigError, match=r"'a\.b'.*'a' has a plain value") as refusal:
        transport_options(["a=hidden", "a.b=hidden"])
    assert "hidden" not in str(refusal.value)


@pytest.mark.parametrize("item", ["", "novalue", "=x", "a b=x", "a..b=x", ".a=x", "redis://:secret@h?x=y"])
def test_transport_option_without_a_key_is_refused(item: str) -> None:
    """The refusal shows an option that works and does not repeat what was given."""
    with pytest.raises(ConfigError, match="visibility_timeout=3600") as refusal:
        transport_options([item])
    assert "secret" not in str(refusal.value)


def test_options_as_a_json_object() -> None:
    """Any text is possible in JSON; a number under a secret name is text; items after it are laid over it."""
    given_ = '{"master_name": "main", "sentinel_kwargs": {"password": "a b,c\\\'\\"", "db": 1}}'.replace(
        "\\'", "'"
    )
    assert transport_options([given_, "sentinel_kwargs.db=2"]) == SENTINEL
    assert transport_options([' {"a.b": [1], "password": 12, "keys": {"token": [1, {"id": 2}, true]}}']) == {
        "a": {"b": [1]},
        "password": "12",
        "keys": {"token": ["1", {"id": "2"}, True]},
    }


@pytest.mark.parametrize(
    "item", ["{", '{"a": hunter22}', "{\"a\": 'hunter22'}", '{"a": 1, "a": "hunter22"}', "{}}"]
)
def test_json_that_is_none_is_refused(item: str) -> None:
    """The refusal shows an object that works, and nothing of what was given."""
    with pytest.raises(ConfigError, match=r'write for example \{"visibility_timeout": 3600\}') as refusal:
        transport_options([item])
    assert "hunter22" not in str(refusal.value)


def test_json_with_an_impossible_name_is_refused() -> None:
    """The name is shown, its value is not."""
    with pytest.raises(ConfigError, match="'a b' cannot name") as refusal:
        transport_options(['{"a b": "hunter22"}'])
    assert "hunter22" not in str(refusal.value)


YAML = """
# a comment
master_name: main
sentinel_kwargs:
  password: 'a b,c''"'
  db: 2
"""
JSON = """{
\t"master_name": "main",
\t"sentinel_kwargs": {"password": "a b,c'\\"", "db": 2}
}"""


@pytest.mark.parametrize("content", [YAML, JSON, YAML.encode("utf-16"), b"\xef\xbb\xbf" + JSON.encode()])
def test_file_of_options(tmp_path: Path, content: str | bytes) -> None:
    """YAML and JSON, with tabs too, give the same."""
    assert of_file(tmp_path, content) == SENTINEL


def test_values_in_yaml(tmp_path: Path) -> None:
    """Words for a flag are flags, numbers numbers, passwords and quoted texts texts; nothing is null."""
    content = """
        flag: yes
        off: false
        number: 1.5
        exponent: 1e5
        octal: 0123
        date: 2026-01-01
        quoted: "12"
        empty:
        list: [1, two, "3"]
        password: 0123
        tokens: {first: yes, second: [1e5]}
        dotted.name: x
        slash: "a\\/b"
    """.replace("slash", "more")
    assert of_file(tmp_path, content.replace("        ", "")) == {
        "flag": True,
        "off": False,
        "number": 1.5,
        "exponent": 100_000.0,
        "octal": "0123",
        "date": "2026-01-01",
        "quoted": "12",
        "empty": None,
        "list": [1, "two", "3"],
        "password": "0123",
        "tokens": {"first": "yes", "second": ["1e5"]},
        "dotted": {"name": "x"},
        "more": "a/b",
    }


def test_items_are_laid_over_a_file(tmp_path: Path) -> None:
    """What is nested stays beside what an item adds; a plain value gives way."""
    content = "a: 1\nsentinel_kwargs: {password: x, db: 1}\n"
    assert of_file(tmp_path, content, "sentinel_kwargs.db=2", "a.b=3", "c=4") == {
        "a": {"b": 3},
        "sentinel_kwargs": {"password": "x", "db": 2},
        "c": 4,
    }


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("a: 1\nb: [hunter22\n", 3, "the file is not valid YAML: while parsing a flow sequence, expected"),
        ("a: 1\npassword: *hunter22\n", 2, "the file is not valid YAML"),
        ("a: 1\npassword: !hunter22\n", 2, "the file is not valid YAML"),
        ("password: %hunter22\n", 1, "the file is not valid YAML"),
        ('a: 1\npassword: "hunter22\\q"\n', 2, "the file is not valid YAML"),
        ("a: 1\na: hunter22\n", 2, "the file has a twice"),
        ('{"a": 1,\n "a": "hunter22"}', 2, "the file has a twice"),
        ("a: 1\n'b c': hunter22\n", 2, "'b c' cannot name"),
        ("a: {password: #hunter22\n}\n", 1, "password has no value"),
        ("- hunter22\n", 1, "the file must be a mapping, not a list"),
        ("a=hunter22\n", 1, "the file must be a mapping, not a single value"),
        (b"a: 1\nb: \xff\n", 2, "the file is not UTF-8"),
        ("a: &a [*a]\n", 1, "this is nested too deeply"),
        ("a: " + "[" * 5000 + "]" * 5000, 1, "the file is nested too deeply"),
    ],
)
def test_bad_file_is_refused_with_its_line(
    tmp_path: Path, content: str | bytes, line: int, reason: str
) -> None:
    """The refusal names file, line and reason, and no value."""
    with pytest.raises(ConfigError) as refusal:
        of_file(tmp_path, content)
    assert f"options.yaml, line {line}: {reason}" in str(refusal.value)
    assert "hunter22" not in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing file, and one that is too long to be meant."""
    with pytest.raises(ConfigError, match=r"cannot read .* in YAML or JSON"):
        options_in(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="is longer than 65536 bytes"):
        of_file(tmp_path, "a: " + "x" * 70_000)


def test_secrets_of_a_file_are_known(tmp_path: Path) -> None:
    """Every value under a secret name is hidden in the log."""
    options = of_file(
        tmp_path, "sentinel_kwargs: {password: 012345}\nsasl_token: [one1, {a: two2}]\nx: hunter\n"
    )
    config = Config(broker_url="redis://host", transport_options=options)
    assert secrets(config) == {"012345", "one1", "two2"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text() | st.text(alphabet="ab:{}[]\n '\"*&!%-,.=1"))
def test_any_file_is_read_or_refused_in_one_line(tmp_path: Path, text: str) -> None:
    """Nothing but ConfigError ever comes out."""
    refusal = ""
    try:
        of_file(tmp_path, text.encode(errors="surrogatepass"))
    except ConfigError as error:
        refusal = str(error)
    assert refusal.isprintable()


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("sentinel_kwargs=x", "sentinel_kwargs must be a mapping"),
        ('sentinel_kwargs={"password":"x}', "sentinel_kwargs must be a mapping"),
        ("global_keyprefix=7", "global_keyprefix must be a text"),
        ("socket_timeout=abc", "socket_timeout must be a number"),
        ("priority_steps=x", "priority_steps must be a list"),
        ("predefined_queues=x", "predefined_queues must be a mapping"),
        ("queue_name_prefix=7", "queue_name_prefix must be a text"),
    ],
)
def test_option_of_a_wrong_type_is_refused(item: str, words: str) -> None:
    """With its name, before anything connects; not by a library's error that does not name it."""
    with pytest.raises(ConfigError, match=words):
        check_types(transport_options([item]))
