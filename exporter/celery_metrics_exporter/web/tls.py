"""TLS as the file of --web.config.file asks for: contexts of OpenSSL, and who is let in by certificate.

Owns the mapping from the toolkit's settings, which are Go's, to Python's ssl.

Facts: Go, crypto/tls and crypto/x509. Go trusts every certificate of ``client_ca_file``, also one that is no root,
hence VERIFY_X509_PARTIAL_CHAIN; without that file it trusts the system's authorities.
"""

import ipaddress
import re
import ssl
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.web.config_tls import Pem, TlsConfig
from celery_metrics_exporter.web.key_pair import EncryptedKeyError, load_key_pair
from celery_metrics_exporter.web.tls_names import ClientAuth

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERIFY = {ClientAuth.VERIFY_IF_GIVEN: ssl.CERT_OPTIONAL, ClientAuth.REQUIRE_AND_VERIFY: ssl.CERT_REQUIRED}


class Tls:
    """One version of the settings, ready for connections."""

    def __init__(self, config: TlsConfig) -> None:
        """Raises ConfigError where OpenSSL cannot do what the settings say."""
        self._allowed_sans = config.allowed_sans
        self.context = _context(config)

    def admits(self, certificate: Mapping[str, object]) -> bool:
        """Whether a client's certificate, already verified, carries one of the allowed names, if there are any.

        ``certificate``: as ``ssl.SSLObject.getpeercert`` tells it.
        """
        if self._allowed_sans is None:
            return True
        return not self._allowed_sans.isdisjoint(_names(certificate))


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for kind, name in certificate.get("subjectAltName", ()):
        if kind == "IP Address":
            with suppress(ValueError):
                address = ipaddress.ip_address(str(name).strip())
                yield str(getattr(address, "ipv4_mapped", None) or address)
        elif kind in {"DNS", "email", "URI"}:
            yield str(name)


def _context(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_SINGLE_ECDH_USE
    if config.prefer_server_ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    set_versions(context, config)
    if config.curve is not None:
        try:
            context.set_ecdh_curve(config.curve)
        except (ValueError, ssl.SSLError):
            place = config.places["curve_preferences"]
            raise place.refuse(f"the OpenSSL of this Python has no curve {config.curve}") from None
    _load_certificate(context, config)
    _set_clients(context, config)
    return context


def set_versions(context: ssl.SSLContext, config: TlsConfig) -> None:
    """Let a context, of a server or of a client, speak what the settings say. Raises ConfigError."""
    oldest = config.min_version if config.ciphers else ssl.TLSVersion.TLSv1_3
    with warnings.catch_warnings():
        # That TLS 1.0 and 1.1 are old is known to whoever asks for them.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = oldest
        context.maximum_version = config.max_version
    if not config.ciphers:
        return
    # OpenSSL 3 has no signature for TLS before 1.2 at the level that distributions set.
    level = "@SECLEVEL=0" if oldest < ssl.TLSVersion.TLSv1_2 else ""
    try:
        context.set_ciphers(":".join(config.ciphers) + level)
    except ssl.SSLError:
        place = config.places.get("cipher_suites", config.places[""])
        raise place.refuse("the OpenSSL of this Python has none of these cipher suites") from None


def _load_certificate(context: ssl.SSLContext, config: TlsConfig) -> None:
    cert, key = config.cert, config.key
    if not _ders(cert):
        raise cert.place.refuse(f"{cert.name}: there is no certificate in it")
    try:
        load_key_pair(context, cert.content, key.content)
    except EncryptedKeyError:
        raise key.place.refuse(f"{key.name}: the key is encrypted; write it without a passphrase") from None
    except ssl.SSLError as error:
        raise _why(error, cert, key) from None


def _why(error: ssl.SSLError, cert: Pem, key: Pem) -> ConfigError:
    reason = error.reason or ""
    if "MISMATCH" in reason:
        return key.place.refuse(f"{key.name} does not belong to the certificate of {cert.name}")
    if b"PRIVATE KEY-----" not in key.content:
        return key.place.refuse(f"{key.name}: there is no private key in it")
    if reason.startswith(("EE_", "CA_")):  # EE_KEY_TOO_SMALL, CA_MD_TOO_WEAK
        return cert.place.refuse(f"{cert.name}: OpenSSL refuses it: {reason.lower().replace('_', ' ')}")
    return key.place.refuse(f"{key.name}: the private key cannot be read")


def _set_clients(context: ssl.SSLContext, config: TlsConfig) -> None:
    # RequestClientCert lets everybody in, with any certificate or none: not to ask comes to the same.
    context.verify_mode = _VERIFY.get(config.client_auth, ssl.CERT_NONE)
    authority = config.client_ca
    if authority is None:
        if context.verify_mode != ssl.CERT_NONE:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    ders = _ders(authority)
    if not ders:
        raise authority.place.refuse(f"{authority.name}: there is no certificate in it")
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=b"".join(ders))


def _ders(pem: Pem) -> list[bytes]:
    """The certificates of a PEM text, checked one by one."""
    ders = []
    for block in _CERTIFICATE.findall(pem.content):
        try:
            der = ssl.PEM_cert_to_DER_cert(block.decode("ascii"))
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=der)
        except ValueError:  # also ssl.SSLError, base64's and Unicode's errors
            raise pem.place.refuse(f"{pem.name}: a certificate in it cannot be read") from None
        ders.append(der)
    return ders
