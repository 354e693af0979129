"""Files for --web.config.file: certificates of two authorities, hashes, and the configurations that name them."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import trustme

#: Of every user in these tests; cost 4, the cheapest there is.
PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@dataclass(frozen=True, slots=True)
class WebFiles:
    """A folder with web.yml and what it names: ca.pem, server.pem, key.pem, other-key.pem.

    Clients have certificates of the authority that the server trusts, or of another one.
    """

    folder: Path
    authority: trustme.CA
    stranger: trustme.CA

    @classmethod
    def create(cls, folder: Path) -> "WebFiles":
        """Make two authorities, and write the files."""
        files = cls(folder, trustme.CA(), trustme.CA())
        files.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        trustme.CA().issue_cert("other").private_key_pem.write_to_path(str(folder / "other-key.pem"))
        files.renew()
        return files

    @property
    def config(self) -> Path:
        """The path of the configuration."""
        return self.folder / "web.yml"

    def renew(self, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> None:
        """Write a new certificate of the server and its key."""
        server = self.authority.issue_cert("localhost", "127.0.0.1", key_type=key_type)
        server.cert_chain_pems[0].write_to_path(str(self.folder / "server.pem"))
        server.private_key_pem.write_to_path(str(self.folder / "key.pem"))

    def write(self, text: str) -> Path:
        """Write web.yml."""
        self.config.write_text(text)
        return self.config

    def write_tls(self, *settings: str, more: str = "") -> Path:
        """Write web.yml with a certificate and further settings of its section, then other sections."""
        lines = ["cert_file: server.pem", "key_file: key.pem", *settings]
        return self.write("tls_server_config:\n" + "".join(f"  {line}\n" for line in lines) + more)

    def client(self, *names: str, authority: trustme.CA | None = None) -> ssl.SSLContext:
        """A client that trusts the server, with a certificate for ``names`` if there are any."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if names:
            (authority or self.authority).issue_cert(*names).configure_cert(context)
        return context


def users(*names: str, hash_: str = HASH) -> str:
    """The section that lets these in."""
    return "basic_auth_users:\n" + "".join(f"  {name}: {hash_}\n" for name in names)
