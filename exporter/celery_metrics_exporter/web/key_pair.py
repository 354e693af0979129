"""Loads a certificate and its key from memory into OpenSSL, which reads files only."""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class EncryptedKeyError(Exception):
    """OpenSSL asks for a passphrase."""


def load_key_pair(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    """Let a context show this certificate; both are PEM. Raises EncryptedKeyError, or ssl.SSLError."""
    with _as_file(cert) as cert_path, _as_file(key) as key_path:
        context.load_cert_chain(cert_path, key_path, password=_no_passphrase)


def _no_passphrase() -> str:
    raise EncryptedKeyError


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A name under which these bytes can be read; where Linux helps, on no disk."""
    in_memory = hasattr(os, "memfd_create")
    if in_memory:
        descriptor = os.memfd_create("pem")
        path = f"/proc/self/fd/{descriptor}"
    else:
        descriptor, path = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield path
    finally:
        if not in_memory:
            Path(path).unlink()
