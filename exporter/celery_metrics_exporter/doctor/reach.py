"""The way to the broker: names, ports, TLS, login, virtual host or database."""

from __future__ import annotations

import json
from typing import Final

from celery_metrics_exporter.doctor.context import Context, LoginAttempt
from celery_metrics_exporter.doctor.failures import ConnectFailure
from celery_metrics_exporter.doctor.network import resolve
from celery_metrics_exporter.doctor.permissions import rabbitmq_line
from celery_metrics_exporter.doctor.progress import doing
from celery_metrics_exporter.doctor.results import failed, listed, ok, skipped, warning
from celery_metrics_exporter.errors import one_line
from celery_metrics_exporter.status_page.findings import Finding

_DEFAULT_PASSWORD: Final = "guest"  # noqa: S105 - RabbitMQ's own, which works from the same machine only


def check_names(context: Context) -> Finding:
    """Each host has an address."""
    if context.local:
        return skipped(context.local)
    hosts = list(dict.fromkeys(address.host for address in context.addresses if address.host))
    if not hosts:
        return skipped("a Unix socket has no name to look up")
    good, bad, unknown = [], [], ""
    with doing(f"looking up {listed(hosts)}"):
        for host in hosts:
            try:
                good.append(f"{host} is {listed(resolve(host), 3)}")
            except OSError as error:
                bad.append(f"{host}: {error.strerror or error}")
                unknown = unknown or host
    return _together(
        good,
        bad,
        "write the broker's host in --broker-url as it is known on this machine (in a container: the name of the "
        "service), or repair the name server",
        f"getent hosts {unknown}",
    )


def check_ports(context: Context) -> Finding:
    """Something listens at each address."""
    if context.local:
        return skipped(context.local)
    bad = []
    with doing(f"connecting to {listed(context.addresses)}"):
        for address in context.addresses:
            try:
                address.connect(context.timeout).close()
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
    failure = attempt.failure
    if failure in (ConnectFailure.LOGIN, ConnectFailure.NAMESPACE, ConnectFailure.RIGHT, ConnectFailure.TLS):
        return ok("the Sentinels name one")
    name = context.broker.app.conf.broker_transport_options.get("master_name")
    if failure is ConnectFailure.SENTINEL_LOGIN:
        return failed(
            f"the Sentinels refuse our login: {one_line(attempt.error)}",
            "write the Sentinels' own user and password, which are not the master's, as sentinel_kwargs into a file of "
            "--broker-transport-options-file, into CELERY_EXPORTER_BROKER_TRANSPORT_OPTION as JSON, or into the "
            "application's broker_transport_options; leave them out where the Sentinels want none",
            json.dumps({"master_name": name, "sentinel_kwargs": {"password": "PASSWORD"}}),
        )
    if failure is ConnectFailure.MASTER:
        return failed(
            f"no Sentinel names a master {name!r}",
            "write the name that stands in sentinel.conf (sentinel monitor NAME ...)",
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
        return skipped(context.local)
    bad: list[str] = []
    good: list[str] = []
    remedy = ""
    for attempt in context.login_attempts():
        if attempt.error is None or attempt.failure in (ConnectFailure.NAMESPACE, ConnectFailure.RIGHT):
            good.append(f"logged in at {attempt}")
            continue
        bad.append(f"{attempt}: {one_line(attempt.error)}")
        remedy = remedy or _login_remedy(context, attempt)
    return _together(good, bad, remedy)


def _login_remedy(context: Context, attempt: LoginAttempt) -> str:
    if attempt.failure is not ConnectFailure.LOGIN:
        return "the broker refuses the login for another reason than the password: see its log"
    if context.is_redis:
        return (
            "write user and password of Redis in --broker-url: redis://:PASSWORD@HOST:PORT/DB for requirepass, "
            "redis://USER:PASSWORD@HOST:PORT/DB for a user of the ACL; percent-encode / ? # @ ; % in them "
            "(--broker-url-file keeps them off the command line)"
        )
    url = context.broker.url if attempt.address is None else attempt.address.url
    user = context.broker.app.connection_for_read(url=url).userid or _DEFAULT_PASSWORD
    alone = (
        "; RabbitMQ accepts guest from its own machine only: add a user" if user == _DEFAULT_PASSWORD else ""
    )
    return (
        "write the right user and password in --broker-url (amqp://USER:PASSWORD@HOST:PORT/VHOST; percent-encode "
        f"/ ? # @ ; % in them), or set the password with rabbitmqctl change_password {context.user}{alone}"
    )


def check_namespace(context: Context) -> Finding:
    """The virtual host, or the database, is there for us."""
    if context.local:
        return skipped(context.local)
    what = "database" if context.is_redis else "virtual host"
    attempts = context.login_attempts()
    good = [
        f"{what} {context.vhost} at {attempt}"
        for attempt in attempts
        if attempt.failure in (None, ConnectFailure.RIGHT)
    ]
    bad = [
        f"{attempt}: {one_line(attempt.error)}"
        for attempt in attempts
        if attempt.error is not None and attempt.failure is ConnectFailure.NAMESPACE
    ]
    return _together(good, bad, *_namespace_remedy(context, " ".join(bad)))


def _namespace_remedy(context: Context, words: str) -> tuple[str, str]:
    if not context.is_redis:
        remedy = (
            "write the virtual host of the application's broker_url, percent-encoded (amqp://HOST/%2F or amqp://HOST// "
            "is the virtual host /), or let the user use it"
        )
        return remedy, rabbitmq_line(context) if "refused" in words else "rabbitmqctl list_vhosts name"
    if "'select'" in words.lower():
        return "let the user choose this database", f"ACL SETUSER {context.user} +select"
    return (
        "write the number of the application's broker_url at the end of --broker-url: redis://HOST:PORT/0",
        "",
    )


def _together(good: list[str], bad: list[str], remedy: str, command: str = "") -> Finding:
    """One verdict about several addresses: one that works is enough, the others are worth a warning."""
    if not bad:
        return ok(listed(good))
    if not good:
        return failed(listed(bad), remedy, command)
    return warning(f"{listed(bad)}; but {listed(good)}", remedy, command)
