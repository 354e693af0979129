"""The file of --broker-transport-options-file: the options of kombu's transport in YAML or JSON.

A message names file, line and keys, and never repeats a value: any of them may be a password.
"""

from __future__ import annotations

from typing import Final

import yaml

from celery_metrics_exporter.config.broker_url import is_secret_name
from celery_metrics_exporter.config.parse import read_small_file, shown
from celery_metrics_exporter.config.transport_options import KEY, from_json, from_text, lay_over, nested
from celery_metrics_exporter.config.yaml_reading import Entry, read_yaml
from celery_metrics_exporter.errors import ConfigError

_YES: Final = frozenset({"yes", "true", "on"})


def options_in(path: str) -> dict[str, object]:
    """The options in a file. A dotted key nests, a password is always text. Raises ConfigError."""
    content = read_small_file(path, "write the transport options into it, in YAML or JSON")
    text = content.decode("utf-8-sig", errors="replace").strip()
    if text.startswith("{"):
        # YAML knows most of JSON, but no tabs and not all escapes; where this is no JSON, YAML tells the line.
        try:
            return from_json(text)
        except ConfigError:
            pass
    options: dict[str, object] = {}
    for key, entry in read_yaml(path, content, secret=True).entries().items():
        if KEY.fullmatch(key) is None:
            raise entry.refuse(
                f"{shown(key)} cannot name a transport option: write for example visibility_timeout: 3600"
            )
        *steps, name = key.split(".")
        try:
            value = _of_yaml(name, entry)
        except RecursionError:
            raise entry.refuse("this is nested too deeply") from None
        lay_over(options, nested(steps, name, value))
    return options


def _of_yaml(name: str, entry: Entry) -> object:
    if entry.is_nothing or entry.node is None:
        if is_secret_name(name):
            raise entry.refuse(f"{name} has no value: put a text that begins with # in single quotes")
        return None
    if isinstance(entry.node, yaml.MappingNode):
        # What stands below a secret name is secret, whatever its own name.
        below = entry.entries().items()
        return {key: _of_yaml(name if is_secret_name(name) else key, item) for key, item in below}
    if isinstance(entry.node, yaml.SequenceNode):
        return [_of_yaml(name, item) for item in entry.items()]
    text = entry.text()
    if getattr(entry.node, "style", None) is not None:  # in quotes
        return text
    if entry.node.tag.endswith(":bool") and not is_secret_name(name):
        return text.lower() in _YES
    value = from_text(name, text)
    return text if isinstance(value, str | dict | list) else value
