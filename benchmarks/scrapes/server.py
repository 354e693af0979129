"""The process that serves a filled registry twice, by our web server and by prometheus_client's, see
:mod:`benchmarks.dialogue`: ``python -m benchmarks.scrapes.server``.
"""

import argparse
import time
from urllib.parse import urlsplit

from prometheus_client import start_http_server

from benchmarks.dialogue import answer, orders
from benchmarks.scrapes.filling import Filled, kinds_for
from benchmarks.scrapes.formats import FORMATS, Encode
from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.exposition.text import Encoder
from celery_metrics_exporter.status_page.snapshot import Setup, Snapshot, SubscriptionView
from celery_metrics_exporter.web.server import WebServer
from tests.integration.servers import HOST, free_port


class _Fine:
    """A :class:`web.Status`."""

    def healthy(self) -> tuple[bool, str]:
        """Yes."""
        return True, "fine"

    def ready(self) -> tuple[bool, str]:
        """Yes."""
        return True, "fine"

    def overview(self) -> Snapshot:
        """Nothing: the status page is not measured."""
        return Snapshot(
            now=0.0,
            since=0.0,
            setup=Setup(version="", broker=""),
            subscription=SubscriptionView(connected=True),
        )


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, required=True)
    filled = Filled(kinds_for(parser.parse_args().series))
    ours = WebServer([ListenAddress(HOST, 0)], filled.registry, _Fine())
    ours.start()
    theirs = free_port()
    start_http_server(theirs, addr=HOST, registry=filled.registry)
    choose = Encoder().choose
    encoders: dict[str, tuple[Encode, Encode]] = {
        each.name: (choose(each.accept)[0], each.reference) for each in FORMATS
    }
    answer({"series": filled.series(), "ports": [urlsplit(ours.urls[0]).port, theirs]})
    for word, *names in orders():
        if word == "cpu":
            answer(time.process_time())
        elif word == "change":
            filled.change()
            answer(None)
        elif word == "encode":
            (name,) = names
            answer([_cost(encode, filled) for encode in encoders[name]])


def _cost(encode: Encode, filled: Filled) -> float:
    began = time.thread_time()
    encode(filled.registry)
    return time.thread_time() - began


if __name__ == "__main__":
    main()
