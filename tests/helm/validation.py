"""Strict validation of Kubernetes objects: an unknown kind or field is an error.

Owns where schemas come from: kubernetes-validate's for Kubernetes, and the types of cloudcoil for the Prometheus
Operator and KEDA. These take unknown fields, as the operators' own schemas do; here they are made to refuse them.
"""

import importlib
import json
from functools import cache
from typing import Any, Final

import jsonschema
from kubernetes_validate import utils
from referencing import Registry, Resource

from tests.helm.chart import Object

#: Group of an API -> where its types are.
_OPERATORS: Final = {"monitoring.coreos.com": "prometheus_operator", "keda.sh": "keda"}


class Invalid(Exception):
    """An object is not as its schema says; the text names the place."""


def validate(item: Object, version: str) -> None:
    """Check one object against Kubernetes of this version, or against its operator's types.

    Raises:
        Invalid: it is of an unknown kind, or wrong.
    """
    _validate(json.dumps(item, sort_keys=True), version)


@cache
def _validate(text: str, version: str) -> None:
    item = json.loads(text)
    kind = item["kind"]
    group, _, api = item["apiVersion"].rpartition("/")
    try:
        if group in _OPERATORS:
            _operator_validator(f"{_OPERATORS[group]}.{api}", kind).validate(item)
        else:
            _kubernetes_validator(version, kind, group, api).validate(item)
    except jsonschema.ValidationError as error:
        raise Invalid(f"{kind} {error.json_path}: {error.message}") from None


@cache
def _kubernetes_validator(version: str, kind: str, group: str, api: str) -> Any:
    """What kubernetes_validate.validate() makes anew for each object, out of two megabytes of definitions."""
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], api) if part)
    try:
        schema = _kubernetes_schema(version, name)
    except FileNotFoundError:
        raise Invalid(f"no kind {kind} in {group}/{api} of Kubernetes {version}") from None
    return jsonschema.Draft202012Validator(schema, registry=_kubernetes_definitions(version))


@cache
def _kubernetes_definitions(version: str) -> Registry[Any]:
    return (Resource.from_contents(_kubernetes_schema(version, "_definitions")) @ Registry[Any]()).crawl()


def _kubernetes_schema(version: str, name: str) -> Any:
    (patch,) = {one for one in utils.all_versions() if utils.major_minor(one) == version}
    return utils.schema_contents(f"kubernetes-json-schema/v{patch}-local-strict/{name}.json", version)


@cache
def _operator_validator(types: str, kind: str) -> Any:
    module = importlib.import_module(f"cloudcoil.models.{types}")
    model = getattr(module, kind, None)
    if model is None:
        raise Invalid(f"no kind {kind} in {types}")
    schema = model.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        if "properties" in part:
            part.setdefault("additionalProperties", False)
    # A model gives these two a default; an object without them is none.
    schema["required"] = sorted({*schema.get("required", ()), "apiVersion", "kind"})
    return jsonschema.Draft202012Validator(schema)
