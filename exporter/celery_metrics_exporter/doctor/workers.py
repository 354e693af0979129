"""Workers: that there are some, what they run, whether they send task events, what their clocks say.

Owns: these checks, and what repairs them. Must not know: how workers are asked.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from celery_metrics_exporter.doctor.case import counted, listed
from celery_metrics_exporter.doctor.findings import Verdict, failed, joined, ok, skipped, warning
from celery_metrics_exporter.doctor.listening import listen
from celery_metrics_exporter.doctor.permissions import version_of

if TYPE_CHECKING:
    from celery_metrics_exporter.doctor.case import Case
    from celery_metrics_exporter.doctor.hearing import Hearing

#: The oldest version whose events we have read, and of which real ones are tried in tests.
OLDEST: Final = (4, 4)
#: Seconds by which a clock may be off: delivery takes its time, and waits are shown to that precision at best.
CLOCK_SECONDS: Final = 2.0
_HALF_HOUR: Final = 1800.0
_SAME_PROCESS: Final = "memory:// works within one process only, and there is no worker in this one"


def check_workers(case: Case) -> Verdict:
    """Workers are there: they answer, and are heard."""
    if case.family == "memory":
        return skipped(_SAME_PROCESS)
    hearing = listen(case)
    answered = set(case.survey.workers) if case.survey else set()
    heard = set(hearing.workers) | set(hearing.task_events)
    every = answered | heard
    if not every:
        return _no_worker(case)
    troubles = (_namesakes(case, hearing), _silent(case, every, answered), _unheard(case, answered - heard))
    well = ok(
        f"{counted(len(every), 'worker')} {'answered and heard' if answered else 'heard'}: {listed(every)}"
    )
    return joined(troubles) or well


def _namesakes(case: Case, hearing: Hearing) -> Verdict | None:
    names = {name for name, pids in hearing.pids.items() if pids.mixed}
    if case.survey:
        names |= {name for name, told in case.survey.workers.items() if max(told.times.values()) > 1}
    if not names:
        return None
    return warning(
        f"several workers have the same name, so that their metrics mix: {listed(names)}",
        "give each worker a name of its own: celery worker -n NAME@%h, and each container a hostname of its own",
    )


def _silent(case: Case, every: set[str], answered: set[str]) -> Verdict | None:
    silent = every - answered
    if not silent or not _asks(case) or case.survey_error is not None:
        return None
    return warning(
        f"no answer of {len(silent)} of {counted(len(every), 'worker')}: {listed(silent)}",
        "a solo worker does not while it runs a task; else the application switches remote control off "
        "(worker_enable_remote_control = False), or the workers' user of RabbitMQ may not write to amq.default: "
        "pools and queues of such workers are not known, and --no-inspect-workers asks nobody",
    )


def _unheard(case: Case, unheard: set[str]) -> Verdict | None:
    if not unheard or case.config.event_queue.routing_key != "#":
        return None
    return warning(
        f"no event of {counted(len(unheard), 'worker')} that answered: {listed(unheard)}",
        "the application sends its events elsewhere (event_exchange: write --event-exchange NAME), or the worker was "
        "started with --without-heartbeat",
    )


def _no_worker(case: Case) -> Verdict:
    words = f"no event of a worker in {case.listened:.0f} s"
    if _asks(case) and case.survey_error is None:
        words = f"nobody answers, and {words}"
    return failed(
        words,
        "start workers, or give the exporter the broker_url that the workers have: the same host, port and virtual "
        "host or database (the line about Celery elsewhere tells what was found)",
        "celery -A PROJECT report | grep broker_url",
    )


def check_versions(case: Case) -> Verdict:
    """Workers run versions that we know."""
    workers = listen(case).workers
    if not workers:
        return skipped("no heartbeat tells of a version" + _none(case))
    counts = Counter(f"{worker.software or 'unknown'} {worker.version or '?'}" for worker in workers.values())
    text = listed([f"{number} x {version}" for version, number in sorted(counts.items())])
    old = {worker.name for worker in workers.values() if () < version_of(worker.version) < OLDEST}
    if old:
        return warning(
            f"{text}; older than Celery {'.'.join(map(str, OLDEST))}: {listed(old)}",
            "upgrade these workers: events of such versions may be read wrongly",
        )
    return ok(text)


def check_task_events(case: Case) -> Verdict:
    """Workers send task events."""
    if case.family == "memory":
        return skipped(_SAME_PROCESS)
    hearing = listen(case)
    if not case.workers():
        return skipped("there is no worker")
    states = {name: _sends(case, hearing, name) for name in case.workers()}
    told = case.survey.workers if case.survey else {}
    turned_on = {name for name, answers in told.items() if answers.events_before is False}
    off = {name for name, state in states.items() if state is False} - turned_on
    unknown = {name for name, state in states.items() if state is None} - turned_on
    setting = "set worker_send_task_events = True in the application, or start workers with celery worker -E"
    if off:
        ask = (
            "" if case.config.enable_events else "; or let the exporter ask for them: drop --no-enable-events"
        )
        return failed(f"off: {listed(off)} work, and send no task events", setting + ask)
    if turned_on:
        return warning(
            f"were off and are on since just now, as the exporter asks for them: {listed(turned_on)}; a worker forgets "
            "that when it restarts, and its first tasks are missed",
            setting,
        )
    if unknown:
        return skipped(
            f"not known of {listed(unknown)}: no task ran there in {case.listened:.0f} s"
            + ("" if case.config.enable_events else ", and --no-enable-events asks nothing"),
            "run doctor again while tasks run, with a longer --wait",
        )
    return ok(f"on: {listed(set(states))}")


def _sends(case: Case, hearing: Hearing, name: str) -> bool | None:
    """Whether this worker sends task events; None while nothing tells."""
    if hearing.task_events[name]:
        return True
    told = case.survey.workers.get(name) if case.survey else None
    if told is not None and told.events_before is not None:
        return told.events_before
    worker = hearing.workers.get(name)
    return None if worker is None else worker.events_enabled


def check_clocks(case: Case) -> Verdict:
    """The clocks of workers agree with ours."""
    offsets = {
        name: worker.offset for name, worker in listen(case).workers.items() if worker.offset is not None
    }
    if not offsets:
        return skipped("no heartbeat tells of a clock" + _none(case))
    skewed = {name: offset for name, offset in offsets.items() if abs(offset) > CLOCK_SECONDS}
    if not skewed:
        worst = max(offsets.values(), key=abs)
        return ok(f"at most {abs(worst) * 1000:.0f} ms off, delivery included")
    text = listed([f"{name} {_signed(offset)}" for name, offset in sorted(skewed.items())])
    remedy = "let NTP (chrony, systemd-timesyncd) set the clocks of these machines"
    spread = max(skewed.values()) - min(skewed.values())
    if len(skewed) == len(offsets) > 1 and spread < CLOCK_SECONDS:
        remedy = "all are off by the same: it is rather this machine's clock; let NTP set it"
    elif all(_is_zone(offset) for offset in skewed.values()):
        remedy = (
            "these are whole time zones: the clock of the machine or its zone was set by hand; let NTP set it"
        )
    elif all(offset < 0 for offset in skewed.values()):
        remedy += "; or their events come late, through a broker or a network that is slow"
    return warning(f"off: {text}; waiting times and runtimes of their tasks are wrong by that", remedy)


def _is_zone(offset: float) -> bool:
    return (
        abs(offset) > _HALF_HOUR / 2 and abs(offset - round(offset / _HALF_HOUR) * _HALF_HOUR) < CLOCK_SECONDS
    )


def _signed(offset: float) -> str:
    return f"{abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}"


def _asks(case: Case) -> bool:
    """Whether workers were asked anything that they answer."""
    config = case.config
    return case.survey is not None and (config.enable_events or config.inspect_workers)


def _none(case: Case) -> str:
    return "" if case.workers() else ": there is no worker"
