"""Sentinels that want a login of their own: what is logged and served without it, and how it is given."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.integration.doctoring import examine
from tests.integration.known_counts import wait_until_receiving
from tests.integration.servers import ExporterProcess, Sentinels
from tests.waiting import wait_for

StartExporter = Callable[..., ExporterProcess]

#: With all that a command line, a variable and YAML could trip over.
PASSWORD = 'it\'s: a, "s3ntinel" #pw'
ATTEMPTS = 4
LONGEST = 300


@pytest.fixture
def guarded(sentinels: Sentinels) -> Sentinels:
    """Sentinels that want a password; they know the master already."""
    for sentinel in sentinels.sentinels:
        with sentinel.client() as client:
            client.execute_command("ACL", "SETUSER", "default", "resetpass", f">{PASSWORD}")
    return sentinels


def ready(exporter: ExporterProcess) -> str:
    """What /-/ready says."""
    try:
        with urlopen(exporter.url.replace("/metrics", "/-/ready"), timeout=5) as answer:  # noqa: S310 - http
            return str(answer.read(), "utf-8")
    except HTTPError as error:
        with error:
            return str(error.read(), "utf-8")


def test_a_missing_password_is_told_once(guarded: Sentinels, start_exporter: StartExporter) -> None:
    """However often it is tried, by whichever part: one short line that names Sentinels and reason."""
    arguments = (
        "--broker-transport-option",
        f"master_name={guarded.master_name}",
        "--sample-interval",
        "0.2",
    )
    exporter = start_exporter("--broker-url", guarded.url, *arguments, "--log.level", "debug")
    wait_for(
        lambda: (
            exporter.stderr.count('msg="still cannot') >= ATTEMPTS and "cannot receive" in exporter.stderr
        ),
        timeout=60,
        what=exporter.process.describe,
    )
    warnings = [line for line in exporter.stderr.splitlines() if " level=warning " in line]
    messages = [line.partition(' msg="')[2].partition('"')[0] for line in warnings]
    assert len(messages) == len(set(messages)), warnings
    for line in warnings:
        reason = line.partition(" error=")[2]
        # redis-py 8 says "auth:AuthenticationError"
        assert re.search(rf":{guarded.sentinels[0].port} - (auth:)?AuthenticationError", reason), reason
        assert " at 0x" not in reason
        assert len(reason) <= LONGEST
    assert "AuthenticationError" in ready(exporter)
    assert len(ready(exporter)) <= LONGEST


@pytest.mark.parametrize("way", ["file", "variable"])
def test_the_password_needs_no_command_line(
    guarded: Sentinels, start_exporter: StartExporter, tmp_path: Path, way: str
) -> None:
    """From a file or a variable, with any characters in it."""
    options = json.dumps({"master_name": guarded.master_name, "sentinel_kwargs": {"password": PASSWORD}})
    file = tmp_path / "options"
    file.write_text(options)
    env = {
        "file": {"CELERY_EXPORTER_BROKER_TRANSPORT_OPTIONS_FILE": str(file)},
        "variable": {"CELERY_EXPORTER_BROKER_TRANSPORT_OPTION": options},
    }[way]
    exporter = start_exporter("--broker-url", guarded.url, env=env)
    wait_until_receiving(exporter)


def test_doctor_names_the_option(guarded: Sentinels) -> None:
    """Without a password and with a wrong one it says where the right one belongs, and shows none."""
    for given in ({}, {"sentinel_kwargs": {"password": "wrong-one"}}):
        found = examine(guarded.url, transport_options={"master_name": guarded.master_name, **given})
        finding = found.only_failure("sentinel", "refuse our login", "AuthenticationError")
        for word in ("sentinel_kwargs", "--broker-transport-options-file", "BROKER_TRANSPORT_OPTION as JSON"):
            assert word in finding["remedy"]
        assert "wrong-one" not in json.dumps(found.document)
        assert found["login"]["message"] == "needs: Sentinel's master"


def test_doctor_names_a_missing_right(sentinels: Sentinels) -> None:
    """A user whom the Sentinels let in and tell nothing is no sign of a master."""
    for sentinel in sentinels.sentinels:
        with sentinel.client() as client:
            client.execute_command("ACL", "SETUSER", "shop", "on", ">pw", "+ping", "+client", "+hello")
    options = {
        "master_name": sentinels.master_name,
        "sentinel_kwargs": {"username": "shop", "password": "pw"},
    }
    found = examine(sentinels.url, transport_options=options)
    assert "sentinel_kwargs" in found.only_failure("sentinel", "refuse our login")["remedy"]
