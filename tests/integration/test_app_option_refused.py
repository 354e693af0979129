"""--app with something that cannot work: one clear line and exit code 2, before anything listens or connects."""

from pathlib import Path

import pytest

from tests.command import ROOT
from tests.integration.known_tasks import APP, environment
from tests.integration.refusal import refusal

PASSWORD = "known-to-nobody"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def app(:\n", ["SyntaxError"]),
        ("raise RuntimeError('no settings here')\n", ["RuntimeError", "no settings here"]),
        ("import nothing_of_this_name\n", ["ModuleNotFoundError", "nothing_of_this_name"]),
        ("import os\nos.environ['NOT_SET_ANYWHERE']\n", ["KeyError", "NOT_SET_ANYWHERE"]),
        ("raise RuntimeError('first\\nsecond')\n", ["first second"]),
        ("import sys\nsys.exit('settings are missing')\n", ["settings are missing"]),
        ("app = 7\n", []),
        ("def app(): ...\n", []),
        ("", []),
        (
            f"raise RuntimeError('cannot use redis://:{PASSWORD}@host:6379/0')\n",
            ["RuntimeError", "cannot use redis://"],
        ),
        (
            "from celery import Celery\napp = Celery('x')\napp.config_from_object('nothing_of_this_name')\n",
            ["nothing_of_this_name"],
        ),
        (
            "from celery import Celery\napp = Celery('x')\napp.conf.update(BROKER_URL='x', task_queues=())\n",
            ["BROKER_URL"],
        ),
    ],
    ids=[
        "syntax error",
        "exception",
        "missing module",
        "missing variable",
        "two lines",
        "exit",
        "a number",
        "a function",
        "nothing",
        "a password in the message",
        "missing settings",
        "old and new names of settings",
    ],
)
def test_an_application_that_does_not_load(tmp_path: Path, code: str, words: list[str]) -> None:
    """Whatever a project does while it is loaded, the line names the application and what happened."""
    (tmp_path / "broken_project.py").write_text(code)
    line = refusal("--app", "broken_project", env={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    for word in ("broken_project", *words):
        assert word in line
    assert PASSWORD not in line


@pytest.mark.parametrize("name", ["nothing_of_this_name", "nothing.of.this:name", f"{APP}:nothing"])
def test_an_application_that_is_not_there(name: str) -> None:
    """A name that leads nowhere is repeated, with the way to write it."""
    line = refusal("--app", name, env={})
    assert name in line
    assert "project.celery:app" in line


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqs://key:known-to-nobody@", ["sqs://"]),
        ("sqla+postgresql://user:known-to-nobody@host/celery", ["sqla"]),
        ("redis://host:6379/notanumber", ["not a number"]),
        ("sentinel://host:26379/0", ["master_name"]),
        ("rubbish", ["malformed"]),
    ],
)
def test_an_application_whose_broker_cannot_work(url: str, words: list[str]) -> None:
    """The application's broker URL is checked like one of the command line."""
    line = refusal("--app", f"{APP}:app", env=environment({"broker_url": url}))
    for word in words:
        assert word in line
    assert PASSWORD not in line
