"""From a scenario to what Prometheus would have stored: samples of every scrape, of rules, and of alerts.

Samples are written with ``promtool tsdb create-blocks-from openmetrics``. promtool evaluates recording rules,
those that read others after these; alerting rules, which it skips, are evaluated here as Prometheus does it: an alert
is pending until its ``for`` has passed.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from celery_metrics_exporter.exposition.text import Encoder
from tests.grafana.viewer.native import Natives
from tests.grafana.viewer.scenarios import END, Scenario, Watched
from tests.integration.servers.prometheus import Prometheus, promtool

SCRAPE_S: Final = 15
_EVALUATION_S: Final = 60
#: promtool cannot write markers of staleness: a series ends so long after its last sample.
_OPTIONS: Final = (
    "--storage.tsdb.retention.time=100y",
    "--query.lookback-delta=1m",
    "--enable-feature=native-histograms",
)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RECORDED: Final = re.compile(r"celery:[\w:]+")

Rule = dict[str, Any]


class Recording:
    """The stored samples of a scenario in ``folder``; the rules are those of ``rules``."""

    def __init__(self, folder: Path, scenario: Scenario, rules: Sequence[Path]) -> None:
        self._folder = folder
        self._scenario = scenario
        self._rules = [
            rule
            for file in rules
            for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
            for rule in group["rules"]
        ]

    def prometheus(self) -> Prometheus:
        """A server with these samples, to be started."""
        return Prometheus(self._folder, [], options=_OPTIONS)

    def write(self) -> None:
        """Simulate, and evaluate the rules."""
        self._folder.mkdir(parents=True, exist_ok=True)
        natives = Natives() if self._scenario.native else None
        self._store(line for watched in self._scenario.make() for line in self._scraped(watched, natives))
        if natives:
            natives.store(self._folder / "data")
        for rules in _levels([rule for rule in self._rules if "record" in rule]):
            with self.prometheus() as server:
                self._evaluate(server, rules)
        with self.prometheus() as server:
            self._store(
                [line for rule in self._rules if "alert" in rule for line in self._alert(server, rule)]
            )

    def _store(self, lines: Iterable[str]) -> None:
        text = self._folder / "samples.txt"
        with text.open("w", encoding="utf-8") as file:
            file.writelines(lines)
            file.write("# EOF\n")
        _run_promtool("openmetrics", "--quiet", text, self._folder / "data")
        text.unlink()

    def _evaluate(self, server: Prometheus, rules: list[Rule]) -> None:
        file = self._folder / "rules.yaml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "level", "rules": rules}]}), encoding="utf-8")
        _run_promtool(
            "rules", f"--start={self._scenario.start:.0f}", f"--end={END:.0f}",
            f"--eval-interval={_EVALUATION_S}s", f"--url={server.url}", f"--output-dir={self._folder / 'data'}", file,
        )  # fmt: skip

    def _scraped(self, watched: Watched, natives: Natives | None) -> Iterator[str]:
        """The lines of every scrape, with the labels of the target and the time; and what Prometheus adds by itself.

        ``natives`` takes the histograms that are to be native ones.
        """
        encoder = Encoder()
        target = f'job="{watched.job}",instance="{watched.instance}"'
        for step in range(int(self._scenario.lasts / SCRAPE_S) + 1):
            after = float(step * SCRAPE_S)
            at = f"{self._scenario.start + after:.3f}"
            if watched.down_from is not None and after >= watched.down_from:
                yield f"up{{{target}}} 0 {at}\n"
                continue
            watched.cluster.run(after)
            page = encoder.text(watched.cluster.bench.pipeline.registry).decode()
            lines = [*page.splitlines(), *_process(self._scenario.start, after)]
            if natives:
                at_target = {"job": watched.job, "instance": watched.instance}
                lines = natives.take(lines, at_target, self._scenario.start + after)
            yield f"up{{{target}}} 1 {at}\n"
            yield f"scrape_duration_seconds{{{target}}} {0.002 + len(lines) / 1e6} {at}\n"
            yield f"scrape_samples_scraped{{{target}}} {len(lines)} {at}\n"
            for line in lines:
                if not line.startswith("#"):
                    series, _, value = line.rpartition(" ")
                    name, brace, labels = series.partition("{")
                    yield f"{name}{{{target}{',' + labels if brace else '}'} {value} {at}\n"

    def _alert(self, server: Prometheus, rule: Rule) -> Iterator[str]:
        """The series ALERTS and ALERTS_FOR_STATE of an alerting rule."""
        start, step = self._scenario.start, _EVALUATION_S
        data = server.api("query_range", query=rule["expr"], start=f"{start}", end=f"{END}", step=f"{step}")
        patience, keep = _seconds(rule.get("for", "0s")), _seconds(rule.get("keep_firing_for", "0s"))
        for series in data["result"]:
            own = {name: value for name, value in series["metric"].items() if name != "__name__"}
            labels = own | {"alertname": rule["alert"]} | rule.get("labels", {})
            times = {float(at) for at, _ in series["values"]}
            since: float | None = None
            last = 0.0
            firing = False
            for number in range(int(self._scenario.lasts / step) + 1):
                at = start + number * step
                if at in times:
                    since, last = at if since is None else since, at
                    firing = firing or at - since >= patience
                elif not (firing and at - last < keep):
                    since, firing = None, False
                    continue
                state = {"alertstate": "firing" if firing else "pending"}
                yield f"ALERTS{_braces(labels | state)} 1 {at:.3f}\n"
                yield f"ALERTS_FOR_STATE{_braces(labels)} {since:.0f} {at:.3f}\n"


def _run_promtool(*arguments: str | Path) -> None:
    answer = promtool("tsdb", "create-blocks-from", *arguments)
    assert answer.returncode == 0, answer.stdout


def _levels(rules: list[Rule]) -> Iterator[list[Rule]]:
    """The rules in groups, each of which reads only what is recorded by those before it."""
    left = {rule["record"] for rule in rules}
    while rules:
        level = [
            rule
            for rule in rules
            if not any(name in left and name != rule["record"] for name in _RECORDED.findall(rule["expr"]))
        ]
        assert level, f"rules that read one another: {sorted(left)}"
        yield level
        rules = [rule for rule in rules if rule not in level]
        left = {rule["record"] for rule in rules}


def _process(start: float, after: float) -> list[str]:
    """What a process of Python says of itself, which would be another one each time."""
    return [
        f"process_cpu_seconds_total {1.2 + 0.013 * after}",
        f"process_resident_memory_bytes {58e6 + 4e6 * min(after / 1800, 1.0)}",
        "process_virtual_memory_bytes 310000000",
        f"process_start_time_seconds {start - 20.0}",
        "process_open_fds 17",
        "process_max_fds 1024",
    ]


def _seconds(text: str) -> float:
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))


def _braces(labels: dict[str, str]) -> str:
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        for name, value in labels.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in sorted(escaped.items())) + "}"
