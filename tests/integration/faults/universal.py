"""Runs the exporter with the receiver that works with every broker, also where there is a faster one."""

import sys

from exporter import cli
from exporter.receivers import choosing
from exporter.receivers.kombu import KombuSubscription


def _universal(url: str) -> type[KombuSubscription]:
    return KombuSubscription


if __name__ == "__main__":
    choosing.fastest = _universal
    sys.exit(cli.main())
