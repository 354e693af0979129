"""Strict validation of Kubernetes objects: an unknown kind or field is an error.

Owns where schemas come from: kubernetes-validate's for Kubernetes, and the types of cloudcoil for the Prometheus
Operator and KEDA. These take unknown fields, as the operators' own schemas do; here they are made to refuse them.
"""

import importlib
import json
from functools import cache
from typing import Any, Final

import jsonschema
import kubernetes_validate

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
    group, _, api = item["apiVersion"].partition("/")
    try:
        if group in _OPERATORS:
            _operator_validator(f"{_OPERATORS[group]}.{api}", item["kind"]).validate(item)
        else:
            kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        raise Invalid(error.message) from None
    except jsonschema.ValidationError as error:
        raise Invalid(f"{item['kind']} {error.json_path}: {error.message}") from None


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
