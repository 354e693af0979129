"""To which queue a publication went: the exchange and the routing key know better than the client."""

from collections.abc import Set as AbstractSet

import pytest

from celery_metrics_exporter.events.types import TaskSent
from celery_metrics_exporter.tasks.publication import MAX_FITTING, routed

LEVELS = ".".join("0" * 25 + "101") + "."


class Bound:
    """Some bindings."""

    def queues(self, exchange: str, key: str) -> AbstractSet[str]:
        """By exchange and key."""
        return {
            ("shop", "video.a"): {"video"},
            ("shop", "both"): {"video", "image"},
            ("shop", "many"): {f"q{number}" for number in range(MAX_FITTING + 1)},
            ("news", ""): {"bcast.*"},
        }.get((exchange, key), set())

    def are_known_without(self, queue: str, exchange: str) -> bool:
        """Of one queue that is bound to one exchange."""
        return queue == "default" and exchange != "home"

    def delayed_queues(self, key: str) -> AbstractSet[str]:
        """By key alone."""
        return {"v.high": {"high"}, "both": {"one", "two"}, "same": {"same", "other"}}.get(key, set())


@pytest.mark.parametrize(
    ("claimed", "exchange", "key", "queue"),
    [
        # to a queue: the default exchange obeys the key
        ("q", "", "q", "q"),
        (None, "", "q", "q"),
        ("celery", "", "q", "q"),
        ("q", "", None, "q"),
        ("q", None, None, "q"),
        # to an exchange
        ("celery", "shop", "video.a", "video"),
        (None, "shop", "video.a", "video"),
        ("image", "shop", "both", "image"),
        ("celery", "shop", "both", None),
        ("celery", "shop", "unbound", "celery"),
        ("default", "shop", "unbound", None),
        ("default", "shop", "video.a", "video"),
        ("default", "home", "unbound", "default"),
        ("default", "", "default", "default"),
        (None, "shop", "unbound", None),
        (
            "bcast.0f8fad5b-d9cb-469f-a165-70867728950e",
            "news",
            "",
            "bcast.0f8fad5b-d9cb-469f-a165-70867728950e",
        ),
        # native delayed delivery: what follows 28 levels
        (None, "celery_delayed_27", LEVELS + "qq2", "qq2"),
        (None, "shop_celery_delayed_27", LEVELS + "qq2", "qq2"),
        ("celery", "celery_delayed_delivery", LEVELS + "a.b", "a.b"),
        (None, "celery_delayed_27", LEVELS + "v.high", "high"),
        (None, "celery_delayed_27", LEVELS + "both", None),
        (None, "celery_delayed_27", LEVELS + "same", "same"),
        ("celery", "shop", LEVELS + "qq2", "qq2"),
        # broken keys
        (None, "celery_delayed_27", LEVELS, None),
        (None, "celery_delayed_27", LEVELS[2:] + "qq2", None),
        (None, "celery_delayed_27", "2." + LEVELS[2:] + "qq2", None),
        (None, "celery_delayed_27", "", None),
        (None, "celery_delayed_27", None, None),
    ],
)
def test_the_queue_of_a_publication(
    claimed: str | None, exchange: str | None, key: str | None, queue: str | None
) -> None:
    """By the bindings that are known, and never made of a broken key."""
    event = TaskSent("u", 1.5, queue=claimed, exchange=exchange, routing_key=key)
    assert routed(event, Bound())[0].queue == queue


@pytest.mark.parametrize(
    ("claimed", "key", "fitting"),
    [
        ("image", "both", {"video", "image"}),
        ("celery", "both", {"video", "image"}),
        (None, LEVELS + "both", {"one", "two"}),
        ("default", "unbound", set()),
        ("celery", "unbound", None),
        ("celery", "video.a", None),
        ("celery", "many", set()),
    ],
)
def test_the_queues_among_which_the_worker_decides(
    claimed: str | None, key: str, fitting: set[str] | None
) -> None:
    """Several that fit, none where the client is known to be wrong or too many fit; else there is no question."""
    event = TaskSent("u", 1.5, queue=claimed, exchange="shop", routing_key=key)
    assert routed(event, Bound())[1] == fitting
