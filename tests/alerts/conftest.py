"""The marker ``needs`` means here what it means in the integration tests."""

from tests.integration.conftest import pytest_runtest_setup

__all__ = ("pytest_runtest_setup",)
