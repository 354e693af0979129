"""The fixtures of the integration tests that commands of docs are run with."""

from tests.integration.conftest import pytest_runtest_setup, rabbitmq

__all__ = ("pytest_runtest_setup", "rabbitmq")
