"""Celery somewhere else: in another database, under another prefix, in another virtual host.

Owns: this check, and what repairs it. Must not know: events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.config.broker_url import masked_url
from celery_metrics_exporter.doctor.addresses import with_database
from celery_metrics_exporter.doctor.case import TIMEOUT_SECONDS, listed
from celery_metrics_exporter.doctor.findings import Verdict, failed, ok, skipped, warning
from celery_metrics_exporter.doctor.redis_server import RedisServer, Tables

if TYPE_CHECKING:
    from celery_metrics_exporter.doctor.case import Case

#: Databases that are looked into.
MOST: Final = 64


def check_elsewhere(case: Case) -> Verdict:
    """Celery is here, not somewhere else on the same broker."""
    if case.local:
        return skipped("there is nothing else: this broker has no server")
    if case.workers():
        return ok(f"workers are in this {'database' if case.is_redis else 'virtual host'} ({case.vhost})")
    return _on_redis(case) if case.is_redis else _on_rabbitmq(case)


def _on_rabbitmq(case: Case) -> Verdict:
    if case.survey is not None and case.survey_error is None and case.survey.taken == 0:
        exchange = f"{case.broker.app.conf.control_exchange}.pidbox"
        return failed(
            f"no worker was ever in virtual host {case.vhost}: it has no exchange {exchange}",
            "write the virtual host of the application's broker_url at the end of --broker-url",
            "rabbitmqctl list_vhosts name; rabbitmqctl list_queues -p VHOST name",
        )
    return skipped(f"the broker does not tell whether workers use another virtual host than {case.vhost}")


def _on_redis(case: Case) -> Verdict:
    tables = case.tables
    if tables is None:
        return skipped("the user may not look at keys (+scan)")
    mine = str((case.broker.app.conf.broker_transport_options or {}).get("global_keyprefix", ""))
    if tables.prefixes[mine]:
        return ok(f"database {case.vhost} holds queues of Celery, though no worker runs")
    if tables.prefixes:
        other = max(tables.prefixes, key=lambda prefix: tables.prefixes[prefix])
        return failed(
            f"database {case.vhost} holds Celery's keys under {listed([repr(each) for each in tables.prefixes])}, "
            f"and none under {mine!r}",
            "give the exporter the application's global_keyprefix",
            f"--broker-transport-option global_keyprefix={other}",
        )
    if not tables.complete:
        return skipped(f"database {case.vhost} is too large to look through")
    return _other_databases(case)


def _other_databases(case: Case) -> Verdict:
    server = RedisServer(case.broker, timeout=TIMEOUT_SECONDS)
    found: list[int] = []
    refusal = ""
    try:
        with case.progress.doing("looking into other databases"):
            numbers = server.databases()
            if isinstance(numbers, str):
                return skipped(
                    f"database {case.vhost} holds nothing of Celery's; others are not told of: {numbers}",
                    "let the user ask which databases there are",
                    f"ACL SETUSER {case.user} +info +select",
                )
            for number in numbers[:MOST]:
                if str(number) != case.vhost:
                    tables = server.tables(number)
                    if isinstance(tables, Tables):
                        found += [number] if tables.prefixes else []
                    else:
                        refusal = tables
    finally:
        server.close()
    if found:
        return failed(
            f"database {case.vhost} holds nothing of Celery's, but database {listed(found)} does",
            "write the number of the application's database at the end of --broker-url",
            f"--broker-url {masked_url(with_database(case.broker.url, found[0]))}",
        )
    if refusal:
        return skipped(
            f"database {case.vhost} holds nothing of Celery's; others cannot be looked into: {refusal}",
            "let the user look into other databases",
            f"ACL SETUSER {case.user} +select",
        )
    return warning(
        "no database of this Redis holds anything of Celery's",
        "write host and port of the application's broker_url in --broker-url",
    )
