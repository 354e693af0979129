"""A peer: redis-py's own loop over the messages of a pattern, none of them decoded.

What it costs is the least that a consumer which reads with redis-py can cost.
"""

import sys

from redis import Redis

from benchmarks.events.counters.serving import Count

_PATTERN = "/0.celeryev/*"


def main(url: str, port: int) -> None:
    """Listen for ever; the number of messages is served on the port."""
    count = Count(port)
    with Redis.from_url(url) as client, client.pubsub() as pubsub:
        pubsub.psubscribe(_PATTERN)
        for message in pubsub.listen():
            if message["type"] == "pmessage":
                count.taken += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
