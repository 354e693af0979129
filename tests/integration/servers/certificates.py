"""A certificate authority for one test run, and the TLS contexts of servers that it signed."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.integration.servers.ports import HOST


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority, a server certificate for localhost and 127.0.0.1, a client certificate."""

    ca_file: Path
    server_cert_file: Path
    server_key_file: Path
    client_cert_file: Path
    client_key_file: Path

    @classmethod
    def create(cls, folder: Path) -> "Certificates":
        """Make a new authority and write its files into ``folder``."""
        authority = trustme.CA()
        server = authority.issue_cert("localhost", HOST)
        client = authority.issue_cert("celery-exporter@localhost")
        certificates = cls(
            ca_file=folder / "ca.pem",
            server_cert_file=folder / "server.pem",
            server_key_file=folder / "server-key.pem",
            client_cert_file=folder / "client.pem",
            client_key_file=folder / "client-key.pem",
        )
        authority.cert_pem.write_to_path(str(certificates.ca_file))
        server.cert_chain_pems[0].write_to_path(str(certificates.server_cert_file))
        server.private_key_pem.write_to_path(str(certificates.server_key_file))
        client.cert_chain_pems[0].write_to_path(str(certificates.client_cert_file))
        client.private_key_pem.write_to_path(str(certificates.client_key_file))
        return certificates

    def server_context(self, *, verify_client: bool = False) -> ssl.SSLContext:
        """Make a server's context; with ``verify_client`` it demands a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server_cert_file, self.server_key_file)
        context.load_verify_locations(self.ca_file)
        if verify_client:
            context.verify_mode = ssl.CERT_REQUIRED
        return context
