"""The formats in which a page can be had, and how it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

Encode = Callable[[CollectorRegistry], bytes]


@dataclass(frozen=True, slots=True)
class Format:
    """Name, the Accept header that asks for it, and prometheus_client's encoder."""

    name: str
    accept: str
    reference: Encode


FORMATS: Final = (
    Format("text", "text/plain;version=0.0.4", generate_latest),
    Format("OpenMetrics", "application/openmetrics-text;version=1.0.0", generate_openmetrics),
)
