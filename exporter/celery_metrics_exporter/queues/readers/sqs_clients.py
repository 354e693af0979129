"""Clients of SQS: made as kombu makes them of a URL and transport options, with short time-outs.

Source of the facts: ``kombu/transport/SQS`` (``Channel.endpoint_url``, ``region``, ``_new_boto_client``,
``get_sts_credentials``), ``botocore/exceptions.py``. Texts of AWS are quoted up to the first line alone: of a signature
that does not match, AWS repeats what was signed, and a session's token is in it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

_DEFAULT_REGION: Final = "us-east-1"
_TIMEOUTS: Final = {"connect_timeout": 3, "read_timeout": 5, "retries": {"total_max_attempts": 2}}
#: Seconds for which credentials of a role are asked for, and how long before their end they are renewed.
_ROLE_SECONDS: Final = 900
_EARLY_SECONDS: Final = 60.0
#: Codes of AWS for keys that are unknown, expired or wrong.
_BAD_KEYS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "403",  # without a body that botocore can read
    }
)


class SqsError(Exception):
    """SQS cannot be read; the message says what to do, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom to connect; None: as boto3 finds it in the environment and its files.

    Attributes:
        url: of a service that speaks SQS' protocol.
        region: of AWS.
        key: id of the access key.
        secret: of it.
        is_secure: whether to use TLS, where ``url`` does not say so.
        client_config: of botocore, from the transport options.
    """

    url: str | None
    region: str
    key: str | None
    secret: str | None
    is_secure: bool
    client_config: Mapping[str, Any]

    @classmethod
    def of(cls, parts: Mapping[str, Any], options: Mapping[str, Any]) -> Endpoint:
        """From what kombu's ``parse_url`` makes of the broker's URL, and the transport options."""
        is_secure = options.get("is_secure")
        url = None
        if parts["hostname"] is not None:
            port = "" if parts["port"] is None else f":{parts['port']}"
            url = f"{'https' if is_secure else 'http'}://{parts['hostname']}{port}"
        return cls(
            url=url,
            region=options.get("region") or _boto3().Session().region_name or _DEFAULT_REGION,
            key=parts["userid"],
            secret=parts["password"],
            is_secure=is_secure is None or bool(is_secure),
            client_config=options.get("client-config") or {},
        )

    def __str__(self) -> str:
        return f"region {self.region}" + (f" at {self.url}" if self.url else "")


class RoleCredentials:
    """Keys of a role (transport option ``sts_role_arn``), which end after a while."""

    def __init__(self, role: str, options: Mapping[str, Any]) -> None:
        self._role = role
        self._seconds = int(options.get("sts_token_timeout") or _ROLE_SECONDS)
        self._until = 0.0
        self.keys: Mapping[str, str] = {}

    def is_due(self) -> bool:
        """Whether new ones are needed."""
        return time.monotonic() >= self._until

    def renew(self, endpoint: Endpoint) -> None:
        """Ask for new ones, with the credentials that boto3 finds, as kombu does."""
        sts = _boto3().client("sts", config=_config(endpoint))
        answer = sts.assume_role(
            RoleArn=self._role, RoleSessionName="celery-exporter", DurationSeconds=self._seconds
        )["Credentials"]
        self._until = time.monotonic() + self._seconds - _EARLY_SECONDS
        self.keys = {
            "aws_access_key_id": answer["AccessKeyId"],
            "aws_secret_access_key": answer["SecretAccessKey"],
            "aws_session_token": answer["SessionToken"],
        }


def make_client(endpoint: Endpoint, queue: Mapping[str, Any], role: RoleCredentials | None) -> Any:
    """A client of boto3 for a predefined queue, or with an empty mapping for all queues; connects to nothing."""
    keys = {
        "aws_access_key_id": queue.get("access_key_id", endpoint.key),
        "aws_secret_access_key": queue.get("secret_access_key", endpoint.secret),
    }
    session = _boto3().Session(
        region_name=queue.get("region", endpoint.region), **(keys if role is None else role.keys)
    )
    where = {} if endpoint.url is None else {"endpoint_url": endpoint.url}
    return session.client("sqs", use_ssl=endpoint.is_secure, config=_config(endpoint), **where)


def code_of(error: Exception) -> str:
    """The code of AWS' answer; empty for an error of another kind."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def explain(error: Exception, endpoint: Endpoint) -> SqsError:
    """The error in one line, with what to do about it."""
    kind, code = type(error).__name__, code_of(error)
    if isinstance(error, SqsError):
        return error
    if code in _BAD_KEYS or kind in {"NoCredentialsError", "PartialCredentialsError"}:
        what = f"SQS refuses our keys in {endpoint} ({code})" if code else f"no keys for SQS ({kind})"
        return SqsError(
            f"{what}: write them as sqs://KEY_ID:SECRET@, percent-encoded, into --broker-url-file, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this process a role"
        )
    if kind in {"EndpointConnectionError", "ConnectTimeoutError", "InvalidRegionError"}:
        return SqsError(
            f"cannot reach SQS in {endpoint} ({kind}): correct --broker-transport-option region=NAME, or the host of "
            "--broker-url, or let this process connect to it"
        )
    return SqsError(_first_line(error))


def _first_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".split())


def _config(endpoint: Endpoint) -> Any:
    config = import_module("botocore.config").Config
    return config(**endpoint.client_config).merge(config(**_TIMEOUTS))


def _boto3() -> Any:
    """Imported only here: it is not there for other brokers."""
    return import_module("boto3")
