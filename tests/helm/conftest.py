"""The servers of the integration tests, for the chart's tests too."""

from tests.integration.conftest import certificates, valkey

__all__ = ("certificates", "valkey")
