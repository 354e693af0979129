"""Certificates and keys: read as PEM, loaded into OpenSSL, and the names that a client's certificate carries."""

import ipaddress
import os
import re
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from celery_metrics_exporter.config.yaml_reading import Entries, Entry
from celery_metrics_exporter.errors import ConfigError
from celery_metrics_exporter.web.named_files import NamedFiles

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pem:
    """PEM text, from a file or inline; ``entry`` names it."""

    content: bytes = field(repr=False)
    entry: Entry

    def refuse(self, reason: str) -> ConfigError:
        """The error that says what is wrong with it."""
        return self.entry.refuse(f"{self.entry.name}: {reason}")

    def certificates(self) -> list[bytes]:
        """The certificates in it, at least one, as DER. Raises ConfigError."""
        ders = []
        for block in _CERTIFICATE.findall(self.content):
            try:
                der = ssl.PEM_cert_to_DER_cert(block.decode("ascii"))
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=der)
            except ValueError:  # also ssl.SSLError, base64's and Unicode's errors
                raise self.refuse("a certificate in it cannot be read") from None
            ders.append(der)
        if not ders:
            raise self.refuse("there is no certificate in it")
        return ders


def read_pem(entries: Entries, name: str, files: NamedFiles, folder: Path) -> Pem | None:
    """What stands at ``name``, or in the file that ``<name>_file`` names in ``folder``. Raises ConfigError."""
    inline, file = entries[name], entries[f"{name}_file"]
    if inline.text() and file.text():
        raise inline.refuse(f"{name} and {name}_file are both set; remove one")
    if inline.text():
        return Pem(inline.text().encode(), inline)
    if not file.text():
        return None
    path = str(folder / file.text())
    entry = replace(file, name=f"{name}_file {path}")
    try:
        return Pem(files.read(path), entry)
    except OSError as error:
        raise entry.refuse(f"{entry.name}: {error}") from None


def load_key_pair(context: ssl.SSLContext, cert: Pem, key: Pem) -> None:
    """Let a context show this certificate. Raises ConfigError."""
    cert.certificates()
    try:
        with _as_file(cert.content) as cert_path, _as_file(key.content) as key_path:
            # With a passphrase, though it is none, OpenSSL does not ask the terminal for one.
            context.load_cert_chain(cert_path, key_path, password="")
    except ssl.SSLError as error:
        raise _why(error.reason or "", cert, key) from None


def _why(reason: str, cert: Pem, key: Pem) -> ConfigError:
    if "MISMATCH" in reason:
        return key.entry.refuse(f"{key.entry.name} does not belong to the certificate of {cert.entry.name}")
    if b"PRIVATE KEY-----" not in key.content:
        return key.refuse("there is no private key in it")
    if b"ENCRYPTED" in key.content:
        return key.refuse("the key is encrypted; write it without a passphrase")
    if reason.startswith(("EE_", "CA_")):  # EE_KEY_TOO_SMALL, CA_MD_TOO_WEAK
        return cert.refuse(f"OpenSSL refuses it: {reason.lower().replace('_', ' ')}")
    return key.refuse("the private key cannot be read")


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A name under which OpenSSL, which reads files only, finds these bytes; where Linux helps, on no disk."""
    in_memory = hasattr(os, "memfd_create")
    with os.fdopen(os.memfd_create("pem"), "wb") if in_memory else tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}" if in_memory else file.name


def names_in(certificate: Mapping[str, Any]) -> Iterator[str]:
    """The names that a certificate carries, of whichever kind; ``certificate`` as ssl's ``getpeercert`` tells it."""
    for kind, name in certificate.get("subjectAltName", ()):
        if kind == "IP Address":
            with suppress(ValueError):
                address = ipaddress.ip_address(str(name).strip())
                yield str(getattr(address, "ipv4_mapped", None) or address)
        elif kind in {"DNS", "email", "URI"}:
            yield str(name)
