"""The rules of grafana/alerts in a hurry: the same files, with every duration shortened and thresholds to match.

Owns how rules are made short for a test with real servers. What the alerts say stays untouched.
"""

import re
from collections.abc import Mapping
from pathlib import Path

ALERTS = Path(__file__).resolve().parents[2] / "grafana" / "alerts"

#: Ten minutes become five seconds.
_HURRY = 120
#: Three samples of a Prometheus that scrapes every second.
_SHORTEST_MS = 3000

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"(\d+)([smhd])"
_RANGE = re.compile(rf"\[{_DURATION}\]")
_OFFSET = re.compile(rf"offset {_DURATION}")
_FOR = re.compile(rf"^( +)(for|interval): {_DURATION}$", re.MULTILINE)


def hurried_rules(folder: Path, thresholds: Mapping[str, float], schedule: Mapping[str, float]) -> list[Path]:
    """Write all rule files to ``folder``, shortened.

    Args:
        folder: where to; made if it is not there.
        thresholds: values for some of ``celery:threshold:...``, by what follows.
        schedule: seconds between two successes, by task.
    """
    folder.mkdir(parents=True)
    written = []
    for source in sorted(ALERTS.glob("*.yaml")):
        text = _FOR.sub(
            lambda found: f"{found[1]}{found[2]}: {_short(found[3], found[4], 0)}", source.read_text()
        )
        text = _RANGE.sub(lambda found: f"[{_short(found[1], found[2], _SHORTEST_MS)}]", text)
        text = _OFFSET.sub(lambda found: f"offset {_short(found[1], found[2], _SHORTEST_MS)}", text)
        if source.name == "settings.yaml":
            for name, value in thresholds.items():
                pattern = rf"(celery:threshold:{name}\n +expr: )vector\(.*\)"
                text, count = re.subn(pattern, rf"\g<1>vector({value})", text)
                assert count == 1, f"no threshold {name}"
            for task, seconds in schedule.items():
                text += (
                    f"      - record: celery:schedule:max_age_seconds\n        expr: vector({seconds})\n"
                    f"        labels: {{task: {task}}}\n"
                )
        written.append(folder / source.name)
        written[-1].write_text(text)
    return written


def _short(number: str, unit: str, least: int) -> str:
    return f"{max(int(number) * _SECONDS[unit] * 1000 // _HURRY, least, 1000)}ms"
