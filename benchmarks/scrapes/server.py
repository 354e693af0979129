"""``python -m benchmarks.scrapes.server``: serves a registry twice, by our web server and by prometheus_client's.

It takes the requests ``cpu``, ``change`` and ``encode``, see :mod:`benchmarks.child`.
"""

import argparse
import time
from typing import NoReturn
from urllib.parse import urlsplit

from prometheus_client import start_http_server

from benchmarks.child import reply, requests
from benchmarks.scrapes.filling import FilledRegistry, kinds_for
from benchmarks.scrapes.formats import FORMATS, Encode
from celery_metrics_exporter.config.config import ListenAddress
from celery_metrics_exporter.exposition.text import Encoder
from celery_metrics_exporter.web.server import WebServer
from tests.integration.servers import HOST, free_port


class Fine:
    """A :class:`web.Status`."""

    def healthy(self) -> tuple[bool, str]:
        """Yes."""
        return True, "fine"

    def ready(self) -> tuple[bool, str]:
        """Yes."""
        return True, "fine"

    def overview(self) -> NoReturn:
        """Refuse: the status page is not measured."""
        raise RuntimeError("the status page is not measured")


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, required=True)
    filled = FilledRegistry(kinds_for(parser.parse_args().series))
    ours = WebServer([ListenAddress(HOST, 0)], filled.registry, Fine())
    ours.start()
    theirs = free_port()
    start_http_server(theirs, addr=HOST, registry=filled.registry)
    choose = Encoder().choose
    encoders: dict[str, tuple[Encode, Encode]] = {
        each.name: (choose(each.accept)[0], each.reference) for each in FORMATS
    }
    reply({"series": filled.series(), "ports": [urlsplit(ours.urls[0]).port, theirs]})
    for word, *names in requests():
        if word == "cpu":
            reply(time.process_time())
        elif word == "change":
            filled.change()
            reply(None)
        elif word == "encode":
            (name,) = names
            reply([_cost(encode, filled) for encode in encoders[name]])


def _cost(encode: Encode, filled: FilledRegistry) -> float:
    began = time.thread_time()
    encode(filled.registry)
    return time.thread_time() - began


if __name__ == "__main__":
    main()
