"""The settings of a benchmark, as given on the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """None: as each benchmark has it by itself.

    Attributes:
        tasks: of a stream.
        rate: events a second of a stream that is not published as fast as it is read.
        consumers: names of those to compare.
        against: the folder of another checkout, whose exporter is compared too.
        rounds: of each comparison.
        seconds: that a load lasts.
        rates: events a second to offer, rising.
        in_flight: tasks that are in flight at once.
    """

    tasks: int = 10_000
    rate: float | None = None
    consumers: Sequence[str] | None = None
    against: Path | None = None
    rounds: int | None = None
    seconds: float = 20.0
    rates: Sequence[int] | None = None
    in_flight: int = 1_000_000

    def options(self) -> list[str]:
        """What differs from the defaults, as on the command line."""
        names = {"consumers": "consumer", "rates": "offer", "in_flight": "in-flight"}
        found = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                values = value if isinstance(value, Sequence) else (value,)
                found += [f"--{names.get(field.name, field.name)}={each}" for each in values]
        return found
