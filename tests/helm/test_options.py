"""Every option of the command line can be given by a value, of the same type, and reaches the pod as its variable."""

import json
from typing import Any

import click
import pytest

from celery_metrics_exporter.cli.options import run_options
from tests.helm.chart import CHART, container, pod_templates, template

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
CONFIG: dict[str, dict[str, Any]] = SCHEMA["definitions"]["config"]["properties"]

_FILES = {"secretName": "s", "certKey": "tls.crt", "keyKey": "tls.key"}
# Options that another value gives -> such values.
ELSEWHERE: dict[str, dict[str, Any]] = {
    "broker-url": {"broker": {"url": "redis://redis"}},
    "broker-url-file": {"broker": {"url": "redis://redis", "asFile": True}},
    "broker-transport-option": {"broker": {"transportOptions": {"heartbeat": 5}}},
    "broker-transport-options-file": {
        "broker": {"existingSecret": {"name": "s", "transportOptionsFileKey": "options.yaml"}}
    },
    "broker-tls-ca-file": {"broker": {"tls": {"secretName": "s"}}},
    "broker-tls-cert-file": {"broker": {"tls": _FILES}},
    "broker-tls-key-file": {"broker": {"tls": _FILES}},
    "broker-tls-server-name": {"broker": {"tls": {"serverName": "redis"}}},
    "broker-tls-verify": {"broker": {"tls": {"verify": False}}},
    "management-url": {"broker": {"managementUrl": "http://rabbitmq:15672"}},
    "web.listen-address": {"containerPort": 1234},
    "web.config.file": {"webConfig": {"certificateSecret": "s"}},
}

OPTIONS = {
    option.opts[0].removeprefix("--"): option
    for options in run_options().values()
    for option in options
    if isinstance(option, click.Option)
}


def test_every_option_has_a_value() -> None:
    """An option that is new, renamed or gone is found here."""
    assert CONFIG.keys() | ELSEWHERE.keys() == OPTIONS.keys()
    assert not CONFIG.keys() & ELSEWHERE.keys()


def _example(name: str) -> tuple[Any, str]:
    """A value that is right for the schema, and the text that the variable must have."""
    part = CONFIG[name]
    kind = part.get("$ref", part.get("type", "enum")).rpartition("/")[2]
    examples = {
        "boolean": (False, "false"),
        "integer": (part.get("maximum", 3_000_000), str(part.get("maximum", 3_000_000))),
        "string": (
            "/m" if "path" in name else "proj.celery:app",
            "/m" if "path" in name else "proj.celery:app",
        ),
        "duration": (0.25, "0.25"),
        "buckets": ([0.5, 10, 2_000_000], "0.5,10,2000000"),
        "words": (["mail", "a b,c"], '["mail","a b,c"]'),
        "enum": (part.get("enum", [""])[-1],) * 2,
    }
    return examples[kind]


@pytest.mark.needs("helm")
@pytest.mark.parametrize("name", CONFIG)
def test_config_becomes_the_variable(name: str) -> None:
    """With its name, as the exporter reads it; the parser of the command line takes the text."""
    everything = {name: _example(name)[0] for name in CONFIG}
    pod = pod_templates(template({"config": everything}))[0]
    env = {variable["name"]: variable.get("value") for variable in container(pod)["env"]}
    option, text = OPTIONS[name], _example(name)[1]
    assert env[str(option.envvar)] == text
    ctx = click.Context(click.Command("run"))
    option.process_value(ctx, option.type.split_envvar_value(text) if option.multiple else text)


@pytest.mark.parametrize("name", CONFIG)
def test_types_agree(name: str) -> None:
    """A switch is a boolean, a choice has the same words, what may be repeated is a list."""
    option, part = OPTIONS[name], CONFIG[name]
    assert (part.get("type") == "boolean") == bool(option.secondary_opts)
    assert (part.get("$ref") == "#/definitions/words") == option.multiple
    assert part.get("enum", []) == (option.type.name.split("|") if "|" in option.type.name else [])
    assert (part.get("$ref") == "#/definitions/duration") == (option.type.name == "duration")
    assert (part.get("$ref") == "#/definitions/buckets") == (option.type.name == "seconds,...")
    assert (part.get("type") == "integer") == (option.type.name == "number")


@pytest.mark.needs("helm")
@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_values_become_the_variable(name: str) -> None:
    """So do the options that have a value of their own."""
    pod = pod_templates(template(ELSEWHERE[name]))[0]
    assert OPTIONS[name].envvar in {variable["name"] for variable in container(pod)["env"]}
