"""What RabbitMQ's refusals of the durable event queue come to, in the words of its versions."""

import pytest
from amqp.exceptions import PreconditionFailed

from celery_metrics_exporter.receivers.durable_queue import OtherArgumentsError, explained
from celery_metrics_exporter.redaction import MAX_ERROR

START = "PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'celeryev.celery-exporter.single' in vhost 'a b'"
QUEUE = "the event queue celeryev.celery-exporter.single has "


@pytest.mark.parametrize(
    ("rest", "difference"),
    [
        (
            ": received the value '1' of type 'signedint' but current is the value '2' of type 'long'",
            "x-expires 2, not 1",
        ),
        (": received '1' but current is '2'", "x-expires 2, not 1"),
        (
            ": received the value '1' of type 'signedint' but current is none",
            "x-expires none, not 1",
        ),
        (": received none but current is the value '2' of type 'signedint'", "x-expires 2, not none"),
        (": something else", "another x-expires"),
        ("", "another x-expires"),
    ],
)
def test_other_arguments(rest: str, difference: str) -> None:
    """The difference and the line that deletes the queue are told, whatever the words."""
    error = explained(PreconditionFailed(START + rest, (50, 10)))
    assert isinstance(error, OtherArgumentsError)
    assert error.trouble == QUEUE + difference
    assert error.command == "rabbitmqctl delete_queue -p 'a b' celeryev.celery-exporter.single"
    assert str(error).startswith(f"{error.trouble}: delete it ({error.command}) while no exporter")
    assert len(str(error)) < MAX_ERROR - 50  # room for its class, and for a longer virtual host


def test_other_refusals_stay() -> None:
    """What is not about a queue is told as it came."""
    error = PreconditionFailed("inequivalent arg 'type' for exchange 'celeryev' in vhost '/'", (40, 10))
    assert explained(error) is error
