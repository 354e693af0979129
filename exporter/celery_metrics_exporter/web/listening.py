"""Listening sockets: an address becomes a bound socket or one clear line."""

import errno
import os
import socket

from celery_metrics_exporter.config.config import ListenAddress

_BACKLOG = 1024
#: The option that sets the addresses, unless another one does.
OPTION = "--web.listen-address"
_REASONS = {
    errno.EADDRINUSE: "address already in use; choose another with",
    errno.EACCES: "permission denied; choose a port above 1023 with",
    errno.EADDRNOTAVAIL: "no such address on this machine; choose another with",
    errno.EAFNOSUPPORT: "no IPv6 on this machine; choose an IPv4 address with",
}
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ListenError(Exception):
    """An address cannot be listened on; the message is one line that says which and why."""


def listen(address: ListenAddress, option: str = OPTION) -> socket.socket:
    """Bind and listen; port 0 lets the system choose.

    An empty host means every interface, IPv4 and IPv6, or IPv4 alone where IPv6 is off. Of a name's addresses
    one is taken, IPv4 before IPv6. ``option`` is the one that an error names.

    Raises:
        ListenError: port in use, no permission, no such address.
    """
    try:
        sock = _bound(address.host, address.port)
    except socket.gaierror:
        reason = f"no such host; write an address of this machine with {option}"
    except ValueError:
        reason = f"not an address; write for example {option} 127.0.0.1:{address.port}"
    except OSError as error:
        number = error.errno or 0
        known = _REASONS.get(number)
        reason = os.strerror(number).lower() if known is None else f"{known} {option}"
    else:
        # Accepted sockets inherit it. Without, a body waits for the acknowledgement of its head: up to 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    raise ListenError(f"cannot listen on {address}: {reason}")


def reachable_at(sock: socket.socket, host: str) -> ListenAddress:
    """Where a client on this machine reaches the socket that ``host`` was bound to."""
    is_wildcard = host in {"", "::", "0.0.0.0"}  # noqa: S104 - compared, not bound
    return ListenAddress("localhost" if is_wildcard else host, sock.getsockname()[1])


def _bound(host: str, port: int) -> socket.socket:
    if host in {"", "::"} and socket.has_dualstack_ipv6():
        address = ("::", port)
        try:
            return socket.create_server(
                address, family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
            )
        except OSError as error:
            if host or error.errno not in _NO_IPV6:
                raise
    if not host:
        return socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)  # noqa: S104 - what an empty host means
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, resolved = min(found, key=lambda info: info[0] != socket.AF_INET)
    return socket.create_server((str(resolved[0]), port, *resolved[2:]), family=family, backlog=_BACKLOG)
