"""What the counting peers share: a number, and a page that shows it."""

from prometheus_client import CollectorRegistry, Gauge, start_http_server


class Count:
    """Served on 127.0.0.1.

    Attributes:
        taken: how many. An attribute is cheaper than a metric, and that is all that a counting peer has to prove.
    """

    def __init__(self, port: int) -> None:
        self.taken = 0
        registry = CollectorRegistry()
        Gauge("taken", "Events or messages taken.", registry=registry).set_function(lambda: self.taken)
        start_http_server(port, addr="127.0.0.1", registry=registry)
