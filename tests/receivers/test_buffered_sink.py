"""What one read brings reaches the sink at once, complete and in its order."""

from celery_metrics_exporter.receivers.buffered_sink import BufferedSink


class Log:
    """A sink that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def feed(self, body: bytes) -> None:
        """Note a body."""
        self.told.append(body)

    def feed_all(self, bodies: list[bytes]) -> None:
        """Note several as one."""
        self.told.append(bodies)

    def drop(self, reason: str, detail: str) -> None:
        """Note a loss."""
        self.told.append((reason, detail))


def test_bodies_are_fed_together() -> None:
    """Nothing is fed before the flush, all of it then, and none of it twice."""
    log = Log()
    buffer = BufferedSink(log)
    buffer.feed(b"1")
    buffer.feed_all([b"2", b"3"])
    assert log.told == []
    buffer.flush()
    buffer.flush()
    buffer.feed(b"4")
    buffer.flush()
    assert log.told == [[b"1", b"2", b"3"], [b"4"]]


def test_a_loss_keeps_its_place() -> None:
    """What came before a loss is fed before it is told."""
    log = Log()
    buffer = BufferedSink(log)
    buffer.feed(b"1")
    buffer.drop("oversized", "why")
    buffer.feed(b"2")
    buffer.flush()
    assert log.told == [[b"1"], ("oversized", "why"), [b"2"]]


def test_a_sink_that_is_replaced() -> None:
    """A receiver that is cut off feeds nothing any more: methods of the sink are looked up at each flush."""
    log = Log()
    buffer = BufferedSink(log)
    buffer.feed(b"1")
    log.feed_all = lambda bodies: None  # type: ignore[method-assign]
    buffer.flush()
    assert log.told == []
