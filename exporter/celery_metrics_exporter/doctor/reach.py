"""The way to the broker: names, ports, TLS, login, virtual host or database.

Owns: these checks, and what repairs them. Must not know: events, workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.doctor import network
from celery_metrics_exporter.doctor.case import TIMEOUT_SECONDS, listed, one_line
from celery_metrics_exporter.doctor.entry import Obstacle, obstacle_of
from celery_metrics_exporter.doctor.findings import Verdict, failed, ok, skipped, warning
from celery_metrics_exporter.doctor.needs import amqp_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celery_metrics_exporter.doctor.case import Case, Visit

_NO_SERVER: Final = "this broker has no server: there is nothing to connect to"
_DEFAULT_PASSWORD: Final = "guest"  # noqa: S105 - RabbitMQ's own, which works from the same machine only


def check_names(case: Case) -> Verdict:
    """Each host has an address."""
    if case.local:
        return skipped(_NO_SERVER)
    hosts = list(dict.fromkeys(address.host for address in case.addresses if address.host))
    if not hosts:
        return skipped("a Unix socket has no name to look up")
    good, bad = [], {}
    with case.progress.doing(f"looking up {listed(hosts)}"):
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


def check_ports(case: Case) -> Verdict:
    """Something listens at each address."""
    if case.local:
        return skipped(_NO_SERVER)
    bad = []
    with case.progress.doing(f"connecting to {listed(case.addresses)}"):
        for address in case.addresses:
            try:
                network.reach(address.host, address.port, address.socket, timeout=TIMEOUT_SECONDS)
                case.reachable.append(address)
            except OSError as error:
                bad.append(f"{address}: {error.strerror or error}")
    remedy = (
        "start the broker, or write its real host and port in --broker-url; a time-out means a firewall or a "
        "network policy in between"
    )
    if case.family == "socket":
        remedy = "start the broker, or write its real path in --broker-url; this process must be allowed to write to it"
    return _together([f"{address} answers" for address in case.reachable], bad, remedy)


def check_master(case: Case) -> Verdict:
    """Sentinels name a master that can be reached."""
    if case.family != "sentinel":
        return skipped("no sentinel:// URL")
    (visit,) = case.visit_all()
    if visit.error is None:
        return ok("the Sentinels name one, and it answers")
    obstacle = obstacle_of(visit.error)
    if obstacle in (Obstacle.LOGIN, Obstacle.NAMESPACE, Obstacle.RIGHT, Obstacle.TLS):
        return ok("the Sentinels name one")
    name = case.broker.app.conf.broker_transport_options.get("master_name")
    if obstacle is Obstacle.MASTER:
        return failed(
            f"no Sentinel names a master {name!r}",
            "write the name that stands in sentinel.conf (sentinel monitor NAME ...); if the Sentinels themselves want "
            "a password, add --broker-transport-option sentinel_kwargs.password=...",
            "--broker-transport-option master_name=NAME",
        )
    return failed(
        one_line(visit.error),
        "the Sentinels must be Sentinels, and the master that they name must be reachable from here under the address "
        "that they name (sentinel announce-ip)",
        f"redis-cli -h {case.addresses[0].host} -p {case.addresses[0].port} sentinel get-master-addr-by-name {name}",
    )


def check_login(case: Case) -> Verdict:
    """The broker knows user and password."""
    if case.local:
        return skipped(_NO_SERVER)
    bad: list[str] = []
    good: list[str] = []
    remedy = ""
    for visit in case.visit_all():
        obstacle = None if visit.error is None else obstacle_of(visit.error)
        if visit.error is None or obstacle in (Obstacle.NAMESPACE, Obstacle.RIGHT):
            good.append(f"let in at {visit.name}")
            continue
        bad.append(f"{visit.name}: {one_line(visit.error)}")
        remedy = remedy or _login_remedy(case, visit, obstacle)
    return _together(good, bad, remedy)


def _login_remedy(case: Case, visit: Visit, obstacle: Obstacle | None) -> str:
    if obstacle is not Obstacle.LOGIN:
        return "the broker is there and does not let us in for another reason than a password: see its log"
    if case.is_redis:
        return (
            "write user and password of Redis in --broker-url: redis://:PASSWORD@HOST:PORT/DB for requirepass, "
            "redis://USER:PASSWORD@HOST:PORT/DB for a user of the ACL; percent-encode / ? # @ ; % in them "
            "(--broker-url-file keeps them off the command line)"
        )
    settings = visit.broker.app.connection_for_read(url=visit.broker.url)
    alone = (
        "; RabbitMQ lets guest in from its own machine only: make a user"
        if (settings.userid or _DEFAULT_PASSWORD) == _DEFAULT_PASSWORD
        else ""
    )
    return (
        "write the right user and password in --broker-url (amqp://USER:PASSWORD@HOST:PORT/VHOST; percent-encode "
        f"/ ? # @ ; % in them), or set the password with rabbitmqctl change_password {case.user}{alone}"
    )


def check_namespace(case: Case) -> Verdict:
    """The virtual host, or the database, is there for us."""
    if case.local:
        return skipped(_NO_SERVER)
    what = "database" if case.is_redis else "virtual host"
    visits = case.visit_all()
    good = [f"{what} {case.vhost} at {visit.name}" for visit in visits if _is_in(visit)]
    bad = [
        f"{visit.name}: {one_line(visit.error)}"
        for visit in visits
        if visit.error is not None and obstacle_of(visit.error) is Obstacle.NAMESPACE
    ]
    return _together(good, bad, *_namespace_remedy(case, " ".join(bad)))


def _namespace_remedy(case: Case, words: str) -> tuple[str, str]:
    if not case.is_redis:
        remedy = (
            "write the virtual host of the application's broker_url, percent-encoded (amqp://HOST/%2F or amqp://HOST// "
            "is the virtual host /), or let the user use it"
        )
        return remedy, amqp_line(case) if "refused" in words else "rabbitmqctl list_vhosts name"
    if "'select'" in words.lower():
        return "let the user choose this database", f"ACL SETUSER {case.user} +select"
    return (
        "write the number of the application's broker_url at the end of --broker-url: redis://HOST:PORT/0",
        "",
    )


def _is_in(visit: Visit) -> bool:
    return visit.error is None or obstacle_of(visit.error) is Obstacle.RIGHT


def _together(good: Iterable[str], bad: Iterable[str], remedy: str, command: str = "") -> Verdict:
    """One verdict about several addresses: one that works is enough, the others are worth a warning."""
    good, bad = list(good), list(bad)
    if not bad:
        return ok(listed(good))
    if not good:
        return failed(listed(bad), remedy, command)
    return warning(f"{listed(bad)}; but {listed(good)}", remedy, command)
