"""The thresholds that colour panels green, orange and red, named by their meaning.

Where an alert has a threshold, it is read from ``grafana/alerts/settings.yaml``: a change there changes both. Blue
means no judgement: lengths and run times have no limits that suit everybody. Steps below 0 are blue too, because
Grafana shows missing data in the colour of the lowest step, and "no tasks" is no bad ratio.
"""

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import yaml
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import (
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

from grafana.source.colours import BLUE, GREEN, ORANGE, RED

_SETTINGS: Final = Path(__file__).resolve().parents[1] / "alerts" / "settings.yaml"


@dataclass(frozen=True, slots=True)
class Limits:
    """Colours from these values on; the first one also holds below."""

    steps: tuple[tuple[float | None, str], ...]

    @property
    def judges(self) -> bool:
        """Whether there is more than one colour."""
        return len(self.steps) > 1

    @property
    def praises(self) -> bool:
        """Whether a value can be right."""
        return any(color == GREEN for _, color in self.steps)

    def config(self) -> ThresholdsConfig:
        """The SDK's form."""
        steps = [
            Threshold(value=None if value is None else _plain(value), color=color)
            for value, color in self.steps
        ]
        return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _plain(value: float) -> float:
    """Without the noise of arithmetic with floats: 300, not 300.0, and 0.75."""
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() else rounded


def at_most(good: float, tolerable: float) -> Limits:
    """Green below ``good``, orange up to ``tolerable``, red from there; no judgement if everything is tolerable."""
    if math.isinf(tolerable):
        return NEUTRAL
    return Limits(((None, BLUE), (0, GREEN), (good, ORANGE), (tolerable, RED)))


def at_least(tolerable: float, good: float) -> Limits:
    """Red below ``tolerable``, orange up to ``good``, green from there; no judgement if everything is tolerable."""
    if math.isinf(tolerable):
        return NEUTRAL
    return Limits(((None, BLUE), (0, RED), (tolerable, ORANGE), (good, GREEN)))


def bad_from(doubtful: float, bad: float) -> Limits:
    """Orange and red from these values on, and never green: a low value proves nothing, since a stall is not in it."""
    if math.isinf(bad):
        return NEUTRAL
    return Limits(((None, BLUE), (doubtful, ORANGE), (bad, RED)))


def threshold(name: str) -> float:
    """The number of ``celery:threshold:<name>`` for all tasks and queues.

    Its expression is a vector of a number or of a product of numbers. ValueError for any other, which only Prometheus
    can evaluate.
    """
    expr = _expressions()[f"celery:threshold:{name}"]
    found = re.fullmatch(r"vector\(([^()]*)\)", expr)
    if not found:
        msg = f"celery:threshold:{name} is {expr}; for the dashboards write vector(NUMBER) or vector(NUMBER * NUMBER)"
        raise ValueError(msg)
    return math.prod(float(factor) for factor in found[1].split("*"))


@cache
def _expressions() -> dict[str, str]:
    """By name, without the overrides for one task or queue."""
    (group,) = yaml.safe_load(_SETTINGS.read_text(encoding="utf-8"))["groups"]
    return {
        rule["record"]: rule["expr"].strip()
        for rule in group["rules"]
        if not {"task", "queue"} & rule.get("labels", {}).keys()
    }


#: A value without a judgement.
NEUTRAL: Final = Limits(((None, BLUE),))
#: 0 is right, 1 is bad.
NONE_IS_RIGHT: Final = Limits(((None, BLUE), (0, GREEN), (1, RED)))
#: 0 is right, more is worth a look.
FEW_ARE_RIGHT: Final = Limits(((None, BLUE), (0, GREEN), (1, ORANGE)))
#: The threshold for slow failures is six times the budget of failures.
SUCCESS: Final = at_least(
    1 - threshold("task_failure_ratio_slow"), 1 - threshold("task_failure_ratio_slow") / 6
)
#: Share of busy slots of a pool: tasks wait for a free slot when nearly all are busy.
SATURATION: Final = bad_from(threshold("queue_pool_busy_ratio") * 5 / 6, threshold("queue_pool_busy_ratio"))
QUEUE_WAIT: Final = bad_from(threshold("queue_wait_seconds"), 5 * threshold("queue_wait_seconds"))
OLDEST_MESSAGE: Final = at_most(
    threshold("queue_message_age_seconds") / 2, threshold("queue_message_age_seconds")
)
#: Since the latest event of all.
EVENT_SILENCE: Final = at_most(threshold("event_silence_seconds") / 5, threshold("event_silence_seconds"))
#: None is right, one is worth a look.
DROPPED: Final = at_most(1, threshold("events_dropped"))
MISSED: Final = at_most(1, threshold("events_missed"))
#: Heartbeats come every 2 s, a worker counts as lost after 60 s.
SILENCE: Final = at_most(20, 60)
#: Difference between a clock and ours, ahead or behind.
CLOCK_OFFSET: Final = at_most(threshold("clock_offset_seconds") / 5, threshold("clock_offset_seconds"))
EVENT_LAG: Final = at_most(threshold("event_lag_seconds") / 2, threshold("event_lag_seconds"))
ROUND_TRIP: Final = at_most(0.1, 1)
#: A scrape that takes 10 s is given up by Prometheus' default.
SCRAPE_SECONDS: Final = at_most(1, 5)
OF_A_CORE: Final = at_most(0.7, 0.9)
#: Redis delivers again what is not acknowledged within its visibility_timeout: from half of it on, and from 80 % on.
UNACKED_AGE: Final = at_most(threshold("unacked_seconds") * 0.5 / 0.8, threshold("unacked_seconds"))
YES_IS_RIGHT: Final = Limits(((None, BLUE), (0, RED), (1, GREEN)))


def words(said: dict[str, tuple[str, str]]) -> ValueMap:
    """Value -> the word that is shown for it, and its colour."""
    return ValueMap(
        options={
            value: ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(said.items())
        }
    )


def yes_no(yes: str, no: str) -> ValueMap:
    """Words for 1, which is right, and 0."""
    return words({"1": (yes, GREEN), "0": (no, RED)})


UP_OR_DOWN: Final = yes_no("up", "down")
#: For ``queries.age_or_none``: that nothing waits is right, that nothing runs is not judged.
NONE_WAITS: Final = words({"-1": ("none", GREEN)})
NONE_RUNS: Final = words({"-1": ("none", BLUE)})
