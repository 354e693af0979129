"""``python -m benchmarks.feed``: what decoding and handling cost by themselves, without broker, receiver and threads.

For profilers, and for a first look at a change: the bodies of the stream of the tables go straight to the dispatcher.
"""

import argparse
import time

from benchmarks.pipelines import make_pipeline
from benchmarks.render import shown
from benchmarks.results import Spread
from benchmarks.stream import NOMINAL_RATE, Workload, make_stream

#: Messages between two sweeps: at the rate of the stream about a quarter of a second.
_MESSAGES_PER_SWEEP = 1000


def microseconds(workload: Workload) -> float:
    """CPU time of an event in a fresh pipeline."""
    stream = make_stream(workload, time.time() - workload.seconds)
    bodies = [message.body.encode() for message in stream.messages]
    dispatcher = make_pipeline().dispatcher
    began = time.thread_time()
    for number, body in enumerate(bodies):
        dispatcher.feed(body)
        if number % _MESSAGES_PER_SWEEP == 0:
            dispatcher.sweep()
    return (time.thread_time() - began) / stream.events.total() * 1e6


def main() -> None:
    """Print the cost in each round, and the spread of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feed", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--list-size", type=int, default=3)
    parser.add_argument("--unsent", action="store_true", help="nobody sends task-sent events")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    workload = Workload(
        tasks=arguments.tasks,
        list_size=arguments.list_size,
        rate=NOMINAL_RATE,
        sent=not arguments.unsent,
    )
    costs = []
    for _ in range(arguments.rounds):
        costs.append(microseconds(workload))
        print(f"{costs[-1]:.2f} us/event", flush=True)
    print(f"median {shown(Spread.of(costs), '.2f')} us/event")


if __name__ == "__main__":
    main()
