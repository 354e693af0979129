"""The thresholds that colour panels green, orange and red, named by their meaning.

They are the thresholds of the alert rules in ``grafana/alerts``, or half of them; change both together. Blue means no
judgement: lengths and run times have no limits that suit everybody. Steps below 0 are blue too, because Grafana shows
missing data in the colour of the lowest step, and "no tasks" is no bad ratio.
"""

from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import (
    SpecialValueMap,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"


@dataclass(frozen=True, slots=True)
class Limits:
    """Colours from these values on; the first one also holds below."""

    steps: tuple[tuple[float | None, str], ...]

    @property
    def judges(self) -> bool:
        """Whether there is more than one colour."""
        return len(self.steps) > 1

    def config(self) -> ThresholdsConfig:
        """The SDK's form."""
        steps = [Threshold(value=value, color=color) for value, color in self.steps]
        return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def at_most(good: float, tolerable: float) -> Limits:
    """Green below ``good``, orange up to ``tolerable``, red from there."""
    return Limits(((None, BLUE), (0, GREEN), (good, ORANGE), (tolerable, RED)))


def at_least(tolerable: float, good: float) -> Limits:
    """Red below ``tolerable``, orange up to ``good``, green from there."""
    return Limits(((None, BLUE), (0, RED), (tolerable, ORANGE), (good, GREEN)))


#: A value without a judgement.
NEUTRAL: Final = Limits(((None, BLUE),))
#: 0 is right, 1 is bad.
NONE_IS_RIGHT: Final = Limits(((None, BLUE), (0, GREEN), (1, RED)))
#: 0 is right, more is worth a look.
FEW_ARE_RIGHT: Final = Limits(((None, BLUE), (0, GREEN), (1, ORANGE)))
SUCCESS: Final = at_least(0.95, 0.99)
#: Share of busy slots of a pool: from 90 % on tasks wait for a free slot.
SATURATION: Final = at_most(0.75, 0.9)
QUEUE_WAIT: Final = at_most(60, 300)
OLDEST_MESSAGE: Final = at_most(300, 600)
#: Heartbeats come every 2 s, a worker counts as lost after 60 s.
SILENCE: Final = at_most(20, 60)
#: Difference between a clock and ours, ahead or behind.
CLOCK_OFFSET: Final = at_most(1, 5)
EVENT_LAG: Final = at_most(5, 10)
ROUND_TRIP: Final = at_most(0.1, 1)
#: A scrape that takes 10 s is given up by Prometheus' default.
SCRAPE_SECONDS: Final = at_most(1, 5)
OF_A_CORE: Final = at_most(0.7, 0.9)
#: Redis delivers again what is not acknowledged within an hour, by Celery's default (visibility_timeout).
UNACKED_AGE: Final = at_most(1800, 2880)
YES_IS_RIGHT: Final = Limits(((None, BLUE), (0, RED), (1, GREEN)))

Mapping = ValueMap | SpecialValueMap


def yes_no(yes: str, no: str, *, bad: str = RED) -> ValueMap:
    """Words for 1 and 0."""
    return ValueMap(
        options={
            "1": ValueMappingResult(text=yes, color=GREEN, index=0),
            "0": ValueMappingResult(text=no, color=bad, index=1),
        }
    )
