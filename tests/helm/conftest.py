"""The marker ``needs`` and the servers of the integration tests, for the chart's tests too."""

from tests.integration.conftest import certificates, pytest_runtest_setup, valkey

__all__ = ("certificates", "pytest_runtest_setup", "valkey")
