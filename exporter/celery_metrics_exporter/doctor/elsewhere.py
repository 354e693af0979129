"""Celery somewhere else: in another database, under another prefix, in another virtual host."""

from __future__ import annotations

from typing import Final

from redis.exceptions import ResponseError

from celery_metrics_exporter.config.broker_url import masked_url
from celery_metrics_exporter.doctor.context import Context
from celery_metrics_exporter.doctor.network import with_database
from celery_metrics_exporter.doctor.progress import doing
from celery_metrics_exporter.doctor.results import failed, listed, ok, skipped, warning
from celery_metrics_exporter.doctor.trial_run import listen
from celery_metrics_exporter.status_page.findings import Finding

#: Databases that are looked into.
MOST: Final = 64


def check_elsewhere(context: Context) -> Finding:
    """Celery is here, not somewhere else on the same broker."""
    if context.local:
        return skipped(context.local)
    if listen(context).workers.up:
        return ok(
            f"workers are in this {'database' if context.is_redis else 'virtual host'} ({context.vhost})"
        )
    return _on_redis(context) if context.is_redis else _on_rabbitmq(context)


def _on_rabbitmq(context: Context) -> Finding:
    questions = context.questions
    if questions is not None and questions.taken == 0:
        exchange = f"{context.broker.app.conf.control_exchange}.pidbox"
        return failed(
            f"no worker was ever in virtual host {context.vhost}: it has no exchange {exchange}",
            "write the virtual host of the application's broker_url at the end of --broker-url; if the application "
            "sets control_exchange, write its name as --control-exchange",
            "rabbitmqctl list_vhosts name; rabbitmqctl list_queues -p VHOST name",
        )
    return skipped(f"the broker does not tell whether workers use another virtual host than {context.vhost}")


def _on_redis(context: Context) -> Finding:
    tables = context.tables
    if tables is None:
        return skipped("the user may not look at keys (+scan)")
    mine = str((context.broker.app.conf.broker_transport_options or {}).get("global_keyprefix", ""))
    if tables.prefixes[mine]:
        return ok(f"database {context.vhost} holds queues of Celery, though no worker runs")
    if tables.prefixes:
        other = max(tables.prefixes, key=lambda prefix: tables.prefixes[prefix])
        return failed(
            f"database {context.vhost} holds Celery's keys under {listed(sorted(map(repr, tables.prefixes)))}, "
            f"and none under {mine!r}",
            "give the exporter the application's global_keyprefix",
            f"--broker-transport-option global_keyprefix={other}",
        )
    if not tables.complete:
        return skipped(f"database {context.vhost} is too large to look through")
    return _other_databases(context)


def _other_databases(context: Context) -> Finding:
    nothing_here = f"database {context.vhost} holds nothing of Celery's"
    found: list[int] = []
    refusal = ""
    with doing("looking into other databases"), context.redis_server() as server:
        try:
            numbers = server.databases()
        except ResponseError as error:
            return skipped(
                f"{nothing_here}; others are not told of: {error}",
                "let the user ask which databases there are",
                f"ACL SETUSER {context.user} +info +select",
            )
        for number in numbers[:MOST]:
            if str(number) != context.vhost:
                try:
                    found += [number] if server.tables(number).prefixes else []
                except ResponseError as error:
                    refusal = str(error)
    if found:
        return failed(
            f"{nothing_here}, but database {listed(found)} does",
            "write the number of the application's database at the end of --broker-url",
            f"--broker-url {masked_url(with_database(context.broker.url, found[0]))}",
        )
    if refusal:
        return skipped(
            f"{nothing_here}; others cannot be looked into: {refusal}",
            "let the user look into other databases",
            f"ACL SETUSER {context.user} +select",
        )
    return warning(
        "no database of this Redis holds anything of Celery's",
        "write host and port of the application's broker_url in --broker-url",
    )
