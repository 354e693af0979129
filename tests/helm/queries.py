"""The queries for autoscaling: those of the examples, as KEDA sends them, and one of docs/autoscaling.md alone."""

from typing import Any, Final

import yaml

from helm.readme import CHART

#: Example -> its file.
EXAMPLES: Final = {
    path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "examples").iterdir())
}
#: What waits and what workers hold, for RabbitMQ with the management API.
HELD: Final = 'max(celery_queue_length{queue="mail"}) + max(celery_queue_unacked_messages{queue="mail"})'


def _values(name: str) -> Any:
    return yaml.safe_load(EXAMPLES[name].read_text(encoding="utf-8"))


def adapter_rules() -> list[dict[str, Any]]:
    """The rules of prometheus-adapter."""
    rules: list[dict[str, Any]] = _values("prometheus-adapter")["rules"]["external"]
    return rules


def queries() -> dict[str, str]:
    """Name of a trigger -> its query; prometheus-adapter asks the same (a test compares them)."""
    (scaler,) = _values("keda")["extraManifests"]
    return {trigger["name"]: trigger["metadata"]["query"] for trigger in scaler["spec"]["triggers"]}
