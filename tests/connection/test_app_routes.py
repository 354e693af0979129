"""Which queue an application's routes give a task: nothing is sent, Celery's own router answers."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery import Celery, _state
from kombu import Exchange, Queue
from kombu.common import Broadcast

from celery_metrics_exporter.connection.app_routes import consumed_tasks, declared_queues, plan_of

TASK = "shop.mail.send"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of any application appears in all that are made later; other tests leave none here."""
    own = {found for found in _state._on_app_finalizers if found.__module__ == "celery.app.builtins"}
    monkeypatch.setattr(_state, "_on_app_finalizers", own)


def send() -> None:
    """Do nothing."""


class ByClass:
    """A router as projects before Celery 4 wrote them."""

    def route_for_task(self, task: str, args: object = None, kwargs: object = None) -> dict[str, str] | None:
        """Answer by the name alone."""
        return {"queue": "by-class"} if task.startswith("shop.") else None


def by_name(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    """A router as Celery's documentation shows it."""
    return {"queue": name.split(".")[1]}


def by_first_argument(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    """A router that survives calls without arguments."""
    return {"queue": f"shard-{args[0]}"} if args else {"queue": "shard-0"}


def by_keyword(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    """A router that looks at one keyword argument."""
    return "urgent" if kwargs.get("urgent") else None


def by_all(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    """A router that hands all arguments on."""
    return f"of-{len(list(map(str, [*args, *dict(**kwargs)])))}"


def by_swallowing(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    """A router that falls back where there are no arguments."""
    try:
        return f"shard-{args[0]}"
    except Exception:  # noqa: BLE001 - as a careless project would
        return "shard-0"


def broken(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    """A router that fails."""
    raise RuntimeError("no database here")


def silent(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    """A router that leaves it to the next one."""
    return


def application(settings: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """An application with one task, which has these options."""
    app = Celery("routes", set_as_current=False)
    app.conf.update(settings or {})
    app.task(name=TASK, shared=False, **options)(send)
    return app


@pytest.mark.parametrize(
    ("routes", "queue"),
    [
        (None, "celery"),
        ({TASK: "mail"}, "mail"),
        ({TASK: {"queue": "mail", "priority": 3}}, "mail"),
        ({TASK: {"queue": Queue("mail")}}, "mail"),
        ({TASK: {"priority": 3}}, "celery"),
        ({TASK: {"routing_key": "mail.all"}}, "celery"),
        ({"shop.*": "glob"}, "glob"),
        ({re.compile(r"shop\.(mail|print)\..*"): "regex"}, "regex"),
        ({"bank.*": "bank"}, "celery"),
        ([[("shop.mail.*", "first"), ("shop.*", "second")]], "first"),
        ([{"bank.*": "bank"}, {"shop.*": "second"}], "second"),
        (by_name, "mail"),
        ((silent, by_name), "mail"),
        ("tests.connection.test_app_routes.by_name", "mail"),
        ("tests.connection.test_app_routes.ByClass", "by-class"),
        (ByClass(), "by-class"),
        (by_first_argument, None),
        (by_keyword, None),
        (by_all, None),
        (by_swallowing, None),
        ((by_keyword, {"shop.*": "second"}), None),
        (({"shop.*": "first"}, by_keyword), "first"),
        (broken, None),
        ("tests.connection.test_app_routes.nothing_of_this_name", None),
        ({TASK: {"exchange": "letters", "routing_key": "mail"}}, "letters-mail"),
        ({TASK: {"exchange": "letters", "routing_key": "nowhere"}}, None),
        ({TASK: {"exchange": "topics", "routing_key": "mail"}}, None),
        ({TASK: "everywhere"}, None),
    ],
)
def test_a_route(routes: Any, queue: str | None) -> None:
    """A route is told where it depends on nothing but the task."""
    queues = [
        Queue("celery"),
        Queue("letters-mail", Exchange("letters"), routing_key="mail"),
        Queue("topics", Exchange("topics", type="topic"), routing_key="mail"),
        Broadcast("everywhere"),
    ]
    plan = plan_of(application({"task_routes": routes, "task_queues": queues}))
    assert plan.queues == {TASK: queue}
    assert plan.error is None


@pytest.mark.parametrize(
    ("options", "queue"),
    [({"queue": "own"}, "own"), ({"priority": 3}, "route"), ({"exchange": "elsewhere"}, "route")],
)
def test_the_options_of_a_task(options: dict[str, Any], queue: str) -> None:
    """A task's own queue beats the routes, as it does for whoever publishes it."""
    app = application({"task_routes": {TASK: "route"}}, **options)
    assert plan_of(app).queues == {TASK: queue}


def test_a_queue_that_may_not_be_created() -> None:
    """Where unknown queues are an error, so is the route: nothing is ever sent by it."""
    settings = {"task_routes": {TASK: "unknown"}, "task_create_missing_queues": False}
    assert plan_of(application(settings)).queues == {TASK: None}


def test_the_default_queue_is_the_applications() -> None:
    """A task without a route goes to the default queue."""
    assert plan_of(application({"task_default_queue": "main"})).queues == {TASK: "main"}


@pytest.mark.filterwarnings("default")  # raised, that of the priority would keep its settings from the task
def test_what_a_router_is_asked() -> None:
    """A router sees the name, empty arguments, the options of the task and the task itself."""
    asked: list[tuple[Any, ...]] = []

    def note(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
        asked.append((name, tuple.__len__(args), dict.__len__(kwargs), dict(options), task.name, more))
        return "noted"

    assert plan_of(application({"task_routes": note}, priority=3)).queues == {TASK: "noted"}
    assert asked == [(TASK, 0, 0, {"priority": 3, "serializer": "json"}, TASK, {})]


def test_celerys_own_tasks_are_left_out() -> None:
    """Only tasks of the project are expected."""
    app = application()
    assert "celery.backend_cleanup" in app.tasks
    assert list(plan_of(app).queues) == [TASK]


def _exits() -> None:
    raise SystemExit("a setting is missing")


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (_exits, "SystemExit: a setting is missing"),
        (None, "ModuleNotFoundError: No module named 'nothing_of_this'"),
    ],
)
def test_modules_that_cannot_be_imported(hook: Callable[[], None] | None, words: str) -> None:
    """What cannot be imported is told, and the tasks that are known stay."""
    app = application({"imports": ["nothing_of_this"]})
    if hook is not None:
        app.loader.import_default_modules = hook
    plan = plan_of(app)
    assert plan.queues == {TASK: "celery"}
    assert plan.error == words


def test_queues_of_each_process_are_no_queues_of_the_application() -> None:
    """A broadcast queue is named by chance in each process."""
    app = application(
        {"task_queues": [Queue("main"), Broadcast("everywhere"), Broadcast("each", unique=True)]}
    )
    assert declared_queues(app) == ("main",)


@pytest.mark.parametrize("selected", [(), ("main",)])
def test_no_queue_is_added_to_those_that_a_worker_consumes(selected: tuple[str, ...]) -> None:
    """A route to a queue that nobody declared is evaluated, and leaves the application as it was."""
    app = application({"task_routes": {TASK: "elsewhere"}, "task_queues": [Queue("main")]})
    app.amqp.queues.select(selected)
    before = dict(app.amqp.queues), dict(app.amqp.queues.consume_from)
    assert plan_of(app).queues == {TASK: "elsewhere"}
    assert consumed_tasks(app) == {}
    assert (dict(app.amqp.queues), dict(app.amqp.queues.consume_from)) == before


@pytest.mark.parametrize(
    ("routes", "selected", "tasks"),
    [
        ({}, ("celery",), {TASK: "celery"}),
        ({}, ("celery", "mail"), {TASK: "celery"}),
        ({}, ("mail",), {}),
        ({TASK: "mail"}, ("celery", "mail"), {TASK: "mail"}),
        ({TASK: "mail"}, ("celery",), {}),
        (by_keyword, ("mail",), {TASK: "mail"}),
        (by_keyword, ("celery", "mail"), {TASK: None}),
    ],
)
def test_the_tasks_that_a_worker_may_get(routes: Any, selected: tuple[str, ...], tasks: Any) -> None:
    """Those of its queues; where the route is not known, all."""
    app = application({"task_routes": routes})
    app.amqp.queues.select(selected)
    assert consumed_tasks(app) == tasks
