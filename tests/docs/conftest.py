"""The fixtures of the integration tests that commands of docs are run with."""

from tests.integration.conftest import rabbitmq

__all__ = ("rabbitmq",)
