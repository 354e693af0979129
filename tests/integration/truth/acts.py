"""What a task does inside a worker, for each behaviour of the workload.

Must not know metrics or expected numbers. Marks, small files in a directory shared with the client, are how a task
and the client wait for each other: the task says that it runs, the client says that it may go on.
"""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from celery import Task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from tests.integration.truth.workload import BROADCAST_FAILS_ON, Behaviour, other_queue, replacement
from tests.waiting import wait_for

MARKS_VARIABLE = "TRUTH_MARKS"
"""The environment variable that names the directory of the marks."""

_LONGER_THAN_ANY_TEST_S = 300.0


class PaymentDeclined(Exception):
    """A failure whose message looks like a call of another exception."""


class OutOfStock(Exception):
    """A failure whose repr does not tell its class; the traceback's last line does."""

    def __repr__(self) -> str:
        return f"<sku {self.args[0]} is out of stock>"


def mark(uuid: str, what: str) -> Path:
    """Name the file by which a worker and the client tell each other `what` happened to one task."""
    return Path(os.environ[MARKS_VARIABLE]) / f"{uuid}.{what}"


def runs_on(uuid: str, worker: str) -> Path:
    """Name the file that tells that a task runs on the worker named after a queue."""
    return mark(uuid, f"runs-on-{worker}")


def act(task: Task, behaviour: Behaviour) -> None:
    """Do what `behaviour` names; return when the task shall succeed."""
    _ACTS[behaviour](task)


def _succeed(_task: Task) -> None:
    pass


def _fail_value(_task: Task) -> NoReturn:
    raise ValueError("KeyError('no such order')")


def _fail_declined(_task: Task) -> NoReturn:
    raise PaymentDeclined("card (4111) declined: ValueError()")


def _fail_odd_repr(_task: Task) -> NoReturn:
    raise OutOfStock(7)


def _retry_once(task: Task) -> None:
    if task.request.retries < 1:
        raise task.retry(exc=ConnectionResetError("the bank hung up"), countdown=0)


def _retry_twice(task: Task) -> None:
    if task.request.retries < 2:
        raise task.retry(exc=ConnectionResetError("the bank hung up"), countdown=0.05)


def _retry_bare(task: Task) -> None:
    if task.request.retries < 1:
        raise task.retry(countdown=0)


def _retry_then_fail(task: Task) -> NoReturn:
    raise task.retry(exc=TimeoutError("the bank does not answer"), countdown=0, max_retries=1)


def _reject_drop(_task: Task) -> NoReturn:
    raise Reject("malformed order", requeue=False)


def _reject_requeue(task: Task) -> None:
    if _first_run(task):
        raise Reject("not now", requeue=True)


def _ignore(_task: Task) -> NoReturn:
    raise Ignore


def _replace(task: Task) -> NoReturn:
    _go_on_as_another(task, _queue(task))


def _replace_elsewhere(task: Task) -> NoReturn:
    _go_on_as_another(task, other_queue(_queue(task)))


def _replace_released(task: Task) -> NoReturn:
    _wait_for_release(task)
    _go_on_as_another(task, _queue(task))


def _send_custom_event(task: Task) -> None:
    task.send_event("shop-note", text="left at the door")


def _run_until_stopped(task: Task) -> None:
    _say_that_it_runs(task)
    wait_for(lambda: False, timeout=_LONGER_THAN_ANY_TEST_S, what="a signal that ends this task")


def _run_until_soft_limit(task: Task) -> None:
    try:
        _run_until_stopped(task)
    except SoftTimeLimitExceeded:
        return


def _die(task: Task) -> None:
    _wait_for_release(task)
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once(task: Task) -> None:
    if _first_run(task):
        _die(task)


def _fail_where_published_first(task: Task) -> None:
    _wait_for_release(task)
    if _queue(task) == mark(task.request.id, "first-queue").read_text():
        raise ValueError("published twice")


def _fail_on_one_worker(task: Task) -> None:
    _wait_for_release(task)
    if _nickname(task) == BROADCAST_FAILS_ON:
        raise ValueError("not for me")


def _wait_for_release(task: Task) -> None:
    _say_that_it_runs(task)
    released = mark(task.request.id, "released")
    wait_for(released.exists, timeout=_LONGER_THAN_ANY_TEST_S, what="the client's release")


_ACTS: Mapping[Behaviour, Callable[[Task], None]] = {
    Behaviour.SUCCEED: _succeed,
    Behaviour.FAIL_VALUE: _fail_value,
    Behaviour.FAIL_DECLINED: _fail_declined,
    Behaviour.FAIL_ODD_REPR: _fail_odd_repr,
    Behaviour.RETRY_ONCE: _retry_once,
    Behaviour.RETRY_TWICE: _retry_twice,
    Behaviour.RETRY_BARE: _retry_bare,
    Behaviour.RETRY_THEN_FAIL: _retry_then_fail,
    Behaviour.REJECT_DROP: _reject_drop,
    Behaviour.REJECT_REQUEUE: _reject_requeue,
    Behaviour.IGNORE: _ignore,
    Behaviour.REPLACE: _replace,
    Behaviour.REPLACE_ELSEWHERE: _replace_elsewhere,
    Behaviour.REPLACE_RELEASED: _replace_released,
    Behaviour.CUSTOM_EVENT: _send_custom_event,
    Behaviour.ETA: _succeed,
    Behaviour.SOFT_LIMIT: _run_until_stopped,
    Behaviour.SOFT_LIMIT_HANDLED: _run_until_soft_limit,
    Behaviour.HARD_LIMIT: _run_until_stopped,
    Behaviour.TERMINATED: _run_until_stopped,
    Behaviour.KILLED: _run_until_stopped,
    Behaviour.LOST: _die,
    Behaviour.LOST_REQUEUED: _die_once,
    Behaviour.HELD: _wait_for_release,
    Behaviour.UUID_OBJECT: _succeed,
    Behaviour.SHADOWED: _succeed,
    Behaviour.PUBLISHED_TWICE: _fail_where_published_first,
    Behaviour.BROADCAST: _fail_on_one_worker,
}


def _queue(task: Task) -> str:
    return str(task.request.delivery_info["routing_key"])


def _go_on_as_another(task: Task, queue: str) -> NoReturn:
    successor = task.app.tasks[replacement(task.name)]
    raise task.replace(successor.s(Behaviour.SUCCEED).set(queue=queue))


def _first_run(task: Task) -> bool:
    try:
        mark(task.request.id, "first-run").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _nickname(task: Task) -> str:
    """The queue after which the worker is named."""
    return str(task.request.hostname).partition("@")[0]


def _say_that_it_runs(task: Task) -> None:
    """Leave the pid of this pool process for the client; complete or not there at all."""
    runs = runs_on(task.request.id, _nickname(task))
    draft = runs.with_name(f"{runs.name}.draft")
    draft.write_text(str(os.getpid()))
    draft.rename(runs)
