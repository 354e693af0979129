"""The way to the broker: names, ports, TLS, login, virtual host or database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.doctor import network
from celery_metrics_exporter.doctor.entry import ConnectFailure, failure_of
from celery_metrics_exporter.doctor.needs import amqp_line
from celery_metrics_exporter.doctor.results import failed, listed, ok, skipped, warning
from celery_metrics_exporter.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celery_metrics_exporter.doctor.context import Context, LoginAttempt
    from celery_metrics_exporter.status_page.findings import Finding

_NO_SERVER: Final = "this broker has no server: there is nothing to connect to"
_DEFAULT_PASSWORD: Final = "guest"  # noqa: S105 - RabbitMQ's own, which works from the same machine only


def check_names(context: Context) -> Finding:
    """Each host has an address."""
    if context.local:
        return skipped(_NO_SERVER)
    hosts = list(dict.fromkeys(address.host for address in context.addresses if address.host))
    if not hosts:
        return skipped("a Unix socket has no name to look up")
    good, bad = [], {}
    with context.progress.doing(f"looking up {listed(hosts)}"):
        for host in hosts:
            try:
                good.append(f"{host} is {listed(network.resolve(host), 3)}")
            except OSError as error:
                bad[host] = str(error.strerror or error)
    return _together(
        good,
        [f"{host}: {words}" for host, words in bad.items()],
        "write the broker's host in --broker-url as it is known on this machine (in a container: the name of the "
        "service), or repair the name server",
        f"getent hosts {next(iter(bad), '')}",
    )


def check_ports(context: Context) -> Finding:
    """Something listens at each address."""
    if context.local:
        return skipped(_NO_SERVER)
    bad = []
    with context.progress.doing(f"connecting to {listed(context.addresses)}"):
        for address in context.addresses:
            try:
                network.reach(address.host, address.port, address.socket, timeout=context.timeout)
                context.reachable.append(address)
            except OSError as error:
                bad.append(f"{address}: {error.strerror or error}")
    remedy = (
        "start the broker, or write its real host and port in --broker-url; a time-out means a firewall or a "
        "network policy in between"
    )
    if context.family == "socket":
        remedy = "start the broker, or write its real path in --broker-url; this process must be allowed to write to it"
    return _together([f"{address} answers" for address in context.reachable], bad, remedy)


def check_master(context: Context) -> Finding:
    """Sentinels name a master that can be reached."""
    if context.family != "sentinel":
        return skipped("no sentinel:// URL")
    (attempt,) = context.login_attempts()
    if attempt.error is None:
        return ok("the Sentinels name one, and it answers")
    failure = failure_of(attempt.error)
    if failure in (ConnectFailure.LOGIN, ConnectFailure.NAMESPACE, ConnectFailure.RIGHT, ConnectFailure.TLS):
        return ok("the Sentinels name one")
    name = context.broker.app.conf.broker_transport_options.get("master_name")
    if failure is ConnectFailure.MASTER:
        return failed(
            f"no Sentinel names a master {name!r}",
            "write the name that stands in sentinel.conf (sentinel monitor NAME ...); if the Sentinels themselves want "
            "a password, add --broker-transport-option sentinel_kwargs.password=...",
            "--broker-transport-option master_name=NAME",
        )
    first = context.addresses[0]
    return failed(
        one_line(attempt.error),
        "the Sentinels must be Sentinels, and the master that they name must be reachable from here under the address "
        "that they name (sentinel announce-ip)",
        f"redis-cli -h {first.host} -p {first.port} sentinel get-master-addr-by-name {name}",
    )


def check_login(context: Context) -> Finding:
    """The broker knows user and password."""
    if context.local:
        return skipped(_NO_SERVER)
    bad: list[str] = []
    good: list[str] = []
    remedy = ""
    for attempt in context.login_attempts():
        failure = None if attempt.error is None else failure_of(attempt.error)
        if attempt.error is None or failure in (ConnectFailure.NAMESPACE, ConnectFailure.RIGHT):
            good.append(f"logged in at {attempt.name}")
            continue
        bad.append(f"{attempt.name}: {one_line(attempt.error)}")
        remedy = remedy or _login_remedy(context, attempt, failure)
    return _together(good, bad, remedy)


def _login_remedy(context: Context, attempt: LoginAttempt, failure: ConnectFailure | None) -> str:
    if failure is not ConnectFailure.LOGIN:
        return "the broker refuses the login for another reason than the password: see its log"
    if context.is_redis:
        return (
            "write user and password of Redis in --broker-url: redis://:PASSWORD@HOST:PORT/DB for requirepass, "
            "redis://USER:PASSWORD@HOST:PORT/DB for a user of the ACL; percent-encode / ? # @ ; % in them "
            "(--broker-url-file keeps them off the command line)"
        )
    settings = attempt.broker.app.connection_for_read(url=attempt.broker.url)
    alone = (
        "; RabbitMQ accepts guest from its own machine only: add a user"
        if (settings.userid or _DEFAULT_PASSWORD) == _DEFAULT_PASSWORD
        else ""
    )
    return (
        "write the right user and password in --broker-url (amqp://USER:PASSWORD@HOST:PORT/VHOST; percent-encode "
        f"/ ? # @ ; % in them), or set the password with rabbitmqctl change_password {context.user}{alone}"
    )


def check_namespace(context: Context) -> Finding:
    """The virtual host, or the database, is there for us."""
    if context.local:
        return skipped(_NO_SERVER)
    what = "database" if context.is_redis else "virtual host"
    attempts = context.login_attempts()
    good = [f"{what} {context.vhost} at {attempt.name}" for attempt in attempts if _is_in(attempt)]
    bad = [
        f"{attempt.name}: {one_line(attempt.error)}"
        for attempt in attempts
        if attempt.error is not None and failure_of(attempt.error) is ConnectFailure.NAMESPACE
    ]
    return _together(good, bad, *_namespace_remedy(context, " ".join(bad)))


def _namespace_remedy(context: Context, words: str) -> tuple[str, str]:
    if not context.is_redis:
        remedy = (
            "write the virtual host of the application's broker_url, percent-encoded (amqp://HOST/%2F or amqp://HOST// "
            "is the virtual host /), or let the user use it"
        )
        return remedy, amqp_line(context) if "refused" in words else "rabbitmqctl list_vhosts name"
    if "'select'" in words.lower():
        return "let the user choose this database", f"ACL SETUSER {context.user} +select"
    return (
        "write the number of the application's broker_url at the end of --broker-url: redis://HOST:PORT/0",
        "",
    )


def _is_in(attempt: LoginAttempt) -> bool:
    return attempt.error is None or failure_of(attempt.error) is ConnectFailure.RIGHT


def _together(good: Iterable[str], bad: Iterable[str], remedy: str, command: str = "") -> Finding:
    """One verdict about several addresses: one that works is enough, the others are worth a warning."""
    good, bad = list(good), list(bad)
    if not bad:
        return ok(listed(good))
    if not good:
        return failed(listed(bad), remedy, command)
    return warning(f"{listed(bad)}; but {listed(good)}", remedy, command)
