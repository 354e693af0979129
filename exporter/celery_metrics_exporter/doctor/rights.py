"""What we are allowed to do: receive events, read queues, ask workers. Each is tried out as the exporter does it.

Owns: these checks, and what repairs them. Must not know: what comes through them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.control.probe import reaches
from celery_metrics_exporter.control.survey import RefusedError, Survey
from celery_metrics_exporter.doctor.case import TIMEOUT_SECONDS, listed, one_line
from celery_metrics_exporter.doctor.entry import Obstacle, obstacle_of
from celery_metrics_exporter.doctor.findings import Verdict, failed, ok, skipped, warning
from celery_metrics_exporter.doctor.listening import Listener
from celery_metrics_exporter.doctor.needs import amqp_line, redis_rights
from celery_metrics_exporter.doctor.reading import read_queues
from celery_metrics_exporter.doctor.redis_server import RedisServer
from celery_metrics_exporter.receivers.kombu import declare_durable_queue

if TYPE_CHECKING:
    from celery_metrics_exporter.doctor.case import Case

_REPLACES: Final = "; the line replaces all rights that it has there"
_FOLDERS: Final = (
    "name the application's folders by --broker-transport-option data_folder_in=..., data_folder_out=... and "
    "control_folder=..., absolute, and let this process read and write there"
)
#: What is missing without these commands, which are not needed otherwise ...
_OPTIONAL: Final = {
    "lindex": "the age of the oldest message",
    "hlen": "unacknowledged messages",
    "zrange": "the oldest unacknowledged message",
}
#: ... and these, unless --queue names the queues.
_FINDING: Final = {"scan": "queues that nobody named", "smembers": "queues that nobody named"}


def check_subscribe(case: Case) -> Verdict:
    """Events can be received."""
    conf = case.broker.app.conf
    exchange = conf.event_exchange
    routing_key = case.config.event_queue.routing_key
    own = case.family == "amqp" and conf.event_queue_durable
    try:
        with case.progress.doing("subscribing to events"):
            if own:
                declare_durable_queue(case.broker, routing_key=routing_key, timeout=TIMEOUT_SECONDS)
                # Two that consume one queue share its events: an exporter that runs would miss those that we take.
                conf.event_queue_durable, conf.event_queue_exclusive = False, True
            listener = Listener(case)
            listener.open()
    except Exception as error:  # noqa: BLE001 - whatever a broker's library raises is the finding
        return _not_subscribed(case, error, exchange)
    case.listener = listener
    how = "; the durable queue is left to the exporter, doctor has one of its own" if own else ""
    return ok(f"events of exchange {exchange} can be received{how}")


def _not_subscribed(case: Case, error: Exception, exchange: str) -> Verdict:
    words = one_line(error)
    match obstacle_of(error):
        case Obstacle.RIGHT if case.is_redis:
            return failed(words, "let the user receive events", redis_rights(case).to_subscribe())
        case Obstacle.RIGHT:
            return failed(words, f"let the user receive events{_REPLACES}", amqp_line(case))
        case Obstacle.DEPRECATED:
            return failed(words, "make the event queue exclusive: drop --no-event-queue-exclusive")
        case Obstacle.CONFLICT:
            return failed(
                words,
                f"what is there under this name is other than ours: write --event-exchange if {exchange} is no event "
                "exchange of Celery's, another --event-queue-prefix if somebody else has the queue, or delete a queue "
                "that was declared with other options",
            )
        case _:
            return failed(words, _FOLDERS if case.local else "see the broker's log: it ended the connection")


def check_read(case: Case) -> Verdict:
    """Queues can be read."""
    names = _queues_to_try(case)
    if case.is_redis:
        return _check_redis_reading(case, names[0])
    try:
        facts = read_queues(case, names)
    except Exception as error:  # noqa: BLE001 - whatever a broker's library raises is the finding
        if case.config.management_url is not None:
            return failed(
                one_line(error),
                "write the management API's URL with user and password (--management-url "
                "http://USER:PASSWORD@HOST:15672); the user needs the tag management, and rights in the virtual host",
                f"rabbitmqctl set_user_tags {case.user} management",
            )
        return failed(one_line(error), _FOLDERS if case.local else "see the broker's log")
    if facts is None:
        return skipped("the queues of such a broker cannot be read")
    return ok(f"{len(facts.queues)} looked at, answered in {facts.round_trip * 1000:.1f} ms")


def _check_redis_reading(case: Case, queue: str) -> Verdict:
    try:
        server = RedisServer(case.broker, timeout=TIMEOUT_SECONDS)
    except Exception as error:
        if obstacle_of(error) is not Obstacle.RIGHT:
            raise
        return failed(one_line(error), "let the user read queues", redis_rights(case).to_read())
    try:
        refused = server.refused(queue)
        if "scan" not in refused:
            tables = server.tables()
            case.tables = None if isinstance(tables, str) else tables
    finally:
        server.close()
    if refused:
        line = redis_rights(case).to_read()
        optional = _OPTIONAL | (_FINDING if case.config.queues else {})
        lost = {(_OPTIONAL | _FINDING).get(command, "lengths of queues") for command in refused}
        text = f"refused: {listed(refused)} ({next(iter(refused.values()))}); not known then: {listed(lost)}"
        judge = failed if refused.keys() - optional.keys() else warning
        return judge(text, "let the user read queues", line)
    known = " ".join(filter(None, (case.software, case.version)))
    if case.role == "replica":
        return warning(
            f"all commands are allowed, but {known} is a replica: workers publish to its master",
            "write the master's host and port in --broker-url, or sentinel://",
        )
    return ok(f"all commands are allowed{f' on {known}' if known else ''}")


def check_ask(case: Case) -> Verdict:
    """Workers can be asked, and an event of our own can be sent."""
    if not case.config.remote_control:
        return skipped("--no-remote-control: nothing is asked, and no event of our own is sent")
    survey = case.survey = Survey(case.broker, timeout=TIMEOUT_SECONDS)
    config = case.config
    asking: Exception | None = None
    probing: Exception | None = None
    try:
        with case.progress.doing("asking workers"):
            try:
                survey.ask(enable_events=config.enable_events, inspect=config.inspect_workers)
            except RefusedError as error:
                asking = error
            try:
                case.probed = reaches(config.event_queue.routing_key) and survey.probe()
            except RefusedError as error:
                probing = error
    except Exception as error:  # noqa: BLE001 - whatever a broker's library raises is the finding
        case.survey_error = one_line(error)
        if obstacle_of(error) is not Obstacle.RIGHT:
            remedy = "see the broker's log; RabbitMQ lets nobody publish while it lacks memory or disk"
            return failed(one_line(error), remedy)
        asking = error
    line = redis_rights(case).to_ask() if case.is_redis else amqp_line(case)
    all_rights = "" if case.is_redis else _REPLACES
    if asking is not None:
        case.survey_error = str(asking)
        remedy = f"let the user ask workers, or ask nothing: --no-remote-control{all_rights}"
        return failed(f"workers cannot be asked: {asking}", remedy, line)
    if probing is not None:
        return warning(
            f"no event of our own can be sent, so that a silence proves nothing: {probing}",
            f"let the user send events{all_rights}",
            line,
        )
    took = "" if survey.taken is None else f"; {survey.taken} took the question"
    return ok(f"workers can be asked, and events can be sent{took}")


def _queues_to_try(case: Case) -> tuple[str, ...]:
    default = str(case.broker.app.conf.task_default_queue)
    return tuple(dict.fromkeys((*case.config.queues, *case.broker.queues, default)))
