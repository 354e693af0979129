"""TLS on the way to the broker: whether both sides want it, and whether the certificate will do.

Source of the facts: OpenSSL's ``x509_vfy.h`` for the numbers of what is wrong with a certificate;
``connection.celery_app`` for the settings, which kombu's transports name differently.
"""

from __future__ import annotations

import ssl
import time
from typing import Any, Final

from celery_metrics_exporter.doctor.context import Context, LoginAttempt
from celery_metrics_exporter.doctor.failures import ConnectFailure, causes_of
from celery_metrics_exporter.doctor.network import Address, certificate_end, language
from celery_metrics_exporter.doctor.progress import doing
from celery_metrics_exporter.doctor.results import failed, ok, skipped, warning
from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.status_page.findings import Finding

#: Days before its end at which a certificate is worth a warning.
SOON_DAYS: Final = 14
_DAY: Final = 86_400
_WRONG_NAME: Final = (62, 64)  # of a host, of an address
_AUTHORITY: Final = "name the authority that signed the broker's certificate: --broker-tls-ca-file FILE"
_FOR_CERTIFICATE: Final = {
    9: "set this machine's clock: the certificate begins later",
    10: "renew the broker's certificate, or set this machine's clock",
    **dict.fromkeys(_WRONG_NAME, "write a host in --broker-url that stands in the certificate"),
    **dict.fromkeys((2, 18, 19, 20, 21), _AUTHORITY),  # no issuer, or one that signed itself
}
_OUR_CERTIFICATE: Final = "give it: --broker-tls-cert-file FILE --broker-tls-key-file FILE"
_SECURE: Final = frozenset({"rediss", "amqps"})


def check_tls(context: Context) -> Finding:
    """Both sides speak TLS, or neither does; the certificate is trusted and carries the right name."""
    if context.local or context.family == "socket":
        return skipped(context.local or "there is no network in between")
    secure = bool(context.broker.app.conf.broker_use_ssl) or context.broker.scheme in _SECURE
    troubles = [
        trouble
        for attempt in context.login_attempts()
        if (trouble := _trouble(context, attempt, secure=secure))
    ]
    if troubles and len(troubles) == len(context.attempts):
        return troubles[0]
    if troubles:
        return warning(
            f"{troubles[0].title}; the other addresses work", troubles[0].remedy, troubles[0].command
        )
    if not secure:
        return ok("not used, as the URL says: fine on a network that you trust")
    if _settings(context).get("cert_reqs") in (ssl.CERT_NONE, "none", "CERT_NONE"):
        return warning(
            "on, but the certificate is not checked: anybody can pose as the broker",
            "trust the authority that signed it: --broker-tls-ca-file FILE instead of --no-broker-tls-verify",
        )
    return _certificate(context)


def _trouble(context: Context, attempt: LoginAttempt, *, secure: bool) -> Finding | None:
    if attempt.error is not None and attempt.failure is ConnectFailure.TLS:
        return _of_handshake(context, attempt, attempt.error)
    if attempt.failure is ConnectFailure.NETWORK and attempt.address is not None:
        return _of_silence(context, attempt.address, secure=secure)
    return None


def _of_silence(context: Context, address: Address, *, secure: bool) -> Finding | None:
    """What explains that a server which listens broke off, or said nothing that we understand."""
    wanted = "Redis" if context.is_redis else "AMQP"
    with doing(f"finding out what {address} speaks"):
        spoken = language(address, timeout=context.timeout)
    scheme = address.url.partition("://")[0]
    if spoken == "TLS" and secure:
        words = "closes the connection after the TLS handshake, as a server does that requires a client certificate"
        return failed(f"{address} {words}", _OUR_CERTIFICATE)
    if spoken == "TLS":
        secured = "rediss" if context.is_redis else "amqps"
        return failed(
            f"{address} speaks TLS, and the URL says {scheme}://",
            f"write {secured}:// in --broker-url, and --broker-tls-ca-file FILE if the authority is your own",
        )
    if spoken == wanted:
        return _plain(context, f"{address} speaks {spoken} without TLS") if secure else None
    if not spoken:
        return None
    return failed(
        f"{address} speaks {spoken}, not {wanted}",
        "write the broker's own port in --broker-url: Redis has 6379, RabbitMQ 5672, or 5671 with TLS (15672 is its "
        "management)",
    )


def _of_handshake(context: Context, attempt: LoginAttempt, error: Exception) -> Finding:
    cause = next(each for each in causes_of(error) if isinstance(each, ssl.SSLError))
    if isinstance(cause, ssl.SSLCertVerificationError):
        remedy = _FOR_CERTIFICATE.get(cause.verify_code, "repair the broker's certificate")
        if cause.verify_code in _WRONG_NAME and not context.is_redis:
            remedy += ", or say which name it carries: --broker-tls-server-name NAME"
        return failed(f"{attempt}: {cause.verify_message.rstrip('.')}", remedy, _shown(attempt.address))
    words = str(cause).lower().replace("_", " ")
    if "wrong version number" in words or "record layer failure" in words:
        return _plain(context, f"{attempt} does not speak TLS")
    if "certificate required" in words or "handshake failure" in words:
        return failed(
            f"{attempt}: the broker requires a client certificate ({one_line(cause)})", _OUR_CERTIFICATE
        )
    return failed(
        f"{attempt}: {one_line(cause)}",
        "see the broker's log: both sides need a common version of TLS, and it must trust our "
        "certificate (--broker-tls-cert-file, --broker-tls-key-file)",
    )


def _plain(context: Context, words: str) -> Finding:
    return failed(
        f"{words}, and the URL or --broker-tls-... says TLS",
        f"write {'redis' if context.is_redis else 'amqp'}:// without --broker-tls-..., or the port on which the broker "
        "has TLS",
    )


def _certificate(context: Context) -> Finding:
    """How long the certificate will do; the handshake has gone well already."""
    settings = _settings(context)
    address = next(
        (attempt.address for attempt in context.attempts if attempt.error is None and attempt.address), None
    )
    if address is None:
        return ok("on, and the certificate is trusted")
    try:
        tls = ssl.create_default_context(cafile=settings.get("ca_certs"))
        if settings.get("certfile"):
            tls.load_cert_chain(settings["certfile"], settings.get("keyfile"))
        tls.check_hostname = settings.get("check_hostname", True) is not False
        name = settings.get("server_hostname")
        ends = certificate_end(address, tls, name, timeout=context.timeout)
    except (OSError, ValueError):  # kombu got through with settings that we read otherwise
        return ok("on, and the certificate is trusted")
    days = (ends - time.time()) / _DAY
    if ends and days < SOON_DAYS:
        return warning(
            f"on, but the broker's certificate ends in {days:.0f} days",
            "renew it before that",
            _shown(address),
        )
    return ok(f"on, and the certificate is trusted, for {days:.0f} more days" if ends else "on, and trusted")


def _shown(address: Address | None) -> str:
    if address is None:
        return ""
    host = address.host
    return f"openssl s_client -connect {host}:{address.port} -servername {host} </dev/null | openssl x509 -noout -text"


def _settings(context: Context) -> dict[str, Any]:
    """The TLS settings under their names without ``ssl_``."""
    given = getattr(context.settings, "ssl", None)
    options = given if isinstance(given, dict) else {}
    return {str(name).removeprefix("ssl_"): value for name, value in options.items() if value is not None}
