"""What the benchmarks make of their measurements: what counts, and what the figures are."""

from dataclasses import replace

import pytest

from benchmarks.events.consumers import DANIHODOVIC, OURS, RAW
from benchmarks.events.measure import Run, Shape
from benchmarks.events.rounds import Comparison
from benchmarks.in_flight import measure_here
from benchmarks.load import scraped, sustained
from benchmarks.load.sustained import SOFT_LIMIT_BYTES, Offer, highest
from benchmarks.results import Result, Spread
from benchmarks.scrapes import measure as scrapes
from benchmarks.settings import Settings
from benchmarks.targets import TARGETS, Target

RUN = Run(cpu=1.0, events=100_000, seconds=4.0, memory=50_000_000, failure="")
DEAR = replace(RUN, cpu=15.0)
BROKEN = replace(RUN, failure="task-sent: 1 of 2")
COMPARISON = Comparison(
    broker="Valkey 9.1.2",
    shape=Shape(tasks=25_000, list_size=3),
    runs={OURS: [RUN, RUN, BROKEN], DANIHODOVIC: [DEAR, replace(DEAR, cpu=16.0), DEAR], RAW: [RUN, RUN, RUN]},
    idle={OURS: 0.001, DANIHODOVIC: 0.002, RAW: 0.0},
    versions={OURS: {"celery": "5.7.0"}, DANIHODOVIC: {"celery": "5.6.3"}, RAW: {}},
)
OFFER = Offer(
    rate=20_000,
    published=600_000,
    counted=600_000,
    seconds=30.0,
    late=0.01,
    cpu=9.0,
    waiting=100_000,
    left=0,
    lost=0,
)
LATENCIES = {"text": [0.02, 0.03], "OpenMetrics, gzip": [0.04, 0.07]}
ENCODERS = {"text": [(0.1, 2.0), (0.1, 2.6), (0.1, 2.7)]}
SCRAPES = {("text", "ours"): [(0.02, 0.01, 1000)], ("text", "prometheus_client"): [(0.04, 0.03, 2000)]}


def scraped_with(missing: int) -> Result:
    """A result of scrapes under load, with so many events lost."""
    return scraped.result(LATENCIES, {"events not counted": missing})


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """A result of each kind."""
    return {
        **{name: COMPARISON.result() for name in ("redis-3", "rabbitmq-24", "rabbitmq-3")},
        **{name: sustained.result("Valkey", 1e5, [OFFER]) for name in ("sustained-24", "sustained-3")},
        "scraped": scraped_with(0),
        "scrapes-100000": scrapes.result(100_010, ENCODERS, SCRAPES),
        "in-flight": Result(facts={**measure_here(240), "MB for them": 240.0}),
    }


@pytest.mark.parametrize(("share", "value"), [(0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)])
def test_percentile_is_the_nearest_rank(share: float, value: float) -> None:
    """A percentile is one of the values, whatever their order."""
    assert scraped.percentile(list(range(100, 0, -1)), share) == value


def test_percentile_of_one_is_that_one() -> None:
    """A single value is every percentile."""
    assert scraped.percentile([7.0], 0.5) == scraped.percentile([7.0], 1.0) == 7.0


def test_spread_is_median_and_ends() -> None:
    """The median, the smallest and the largest, in whatever order the values come."""
    assert Spread.of([3.0, 1.0, 1234.5]) == Spread(3.0, 1.0, 1234.5)


def test_failed_runs_count_nowhere() -> None:
    """Costs leave a failed run out, ratios the whole round, and the result tells it."""
    assert COMPARISON.costs(OURS) == [10.0, 10.0]
    assert COMPARISON.ratios(DANIHODOVIC, OURS) == [15.0, 16.0]
    result = COMPARISON.result()
    assert result.facts["runs that failed and do not count"] == f"round 3, {OURS}: task-sent: 1 of 2"
    assert result.tables[0].rows[0] == [OURS, Spread(10.0, 10.0, 10.0), 100_000.0, 50.0, 1.0, 0.04]
    assert result.tables[1].rows[0] == [f"{DANIHODOVIC} / {OURS}", Spread(15.5, 15.0, 16.0)]


def test_consumer_that_always_fails_has_no_figures() -> None:
    """None stands where no run counts."""
    result = replace(COMPARISON, runs={OURS: [BROKEN], DANIHODOVIC: [DEAR]}).result()
    assert result.tables[0].rows[0][:3] == [OURS, None, None]
    assert result.tables[1].rows[0][1] is None


@pytest.mark.parametrize(
    "changes",
    [{"counted": 599_999}, {"lost": 1}, {"left": SOFT_LIMIT_BYTES}, {"late": 1.0}],
    ids=lambda changes: next(iter(changes)),
)
def test_offer_is_sustained_only_when_all_is_well(changes: dict[str, float]) -> None:
    """One lost event, one lost connection, a backlog or a late generator: none of these counts, nor has it a cost."""
    assert OFFER.sustained
    assert OFFER.row()[5] == 15.0
    changed = replace(OFFER, **changes)  # type: ignore[arg-type]  # of any field
    assert not changed.sustained
    assert changed.row()[5] == ""


def test_highest_rate_has_all_lower_ones_below_it() -> None:
    """A rate that was sustained by luck, above one that was not, does not count."""
    good, bad = replace(OFFER, rate=30_000), replace(OFFER, rate=40_000, lost=1)
    lucky = replace(OFFER, rate=50_000)
    assert highest([OFFER, good, bad, lucky]) == 30_000
    assert highest([OFFER, replace(good, lost=1), good, bad]) == 30_000
    assert highest([bad]) == 0


def test_scrapes_are_compared_within_a_round() -> None:
    """The ratio is that of each pair; latency, CPU time and bytes are of each server by itself."""
    encoders, pages = scrapes.result(1_000, ENCODERS, SCRAPES).tables
    assert encoders.rows == [["text", 100.0, 2600.0, Spread(26.0, 20.0, 27.0)]]
    assert pages.rows == [
        ["text", "ours", Spread(20.0, 20.0, 20.0), 10.0, 1.0],
        ["text", "prometheus_client", Spread(40.0, 40.0, 40.0), 30.0, 2.0],
    ]


def test_latencies_are_of_each_way_and_of_all() -> None:
    """In milliseconds: how many, median, and the percentiles up to the longest."""
    (table,) = scraped_with(0).tables
    assert [row[:2] for row in table.rows] == [["text", 2], ["OpenMetrics, gzip", 2], ["all", 4]]
    assert table.rows[-1][2:] == pytest.approx([35.0, 70.0, 70.0, 70.0])


@pytest.mark.parametrize(
    ("at_most", "values"),
    [
        (False, {25.0: "yes, and the stretch", 20.0: "yes, and the stretch", 15.0: "yes", 14.9: "**no**"}),
        (True, {15.0: "**no**", 20.0: "**no**", 14.0: "yes", 13.0: "yes, and the stretch"}),
    ],
)
def test_verdict_knows_which_way_is_better(*, at_most: bool, values: dict[float, str]) -> None:
    """A goal is reached from its own side, and at the goal itself."""
    goal, stretch = (14.0, 13.0) if at_most else (15.0, 20.0)
    target = Target("", goal, stretch, "in-flight", "MB for them", at_most=at_most)
    assert {value: target.verdict(value) for value in values} == values


def test_targets_find_their_numbers(results: dict[str, Result]) -> None:
    """Each is found among the facts of its result."""
    values = [target.measured(results) for target in TARGETS]
    assert values == [15.5, 15.5, 15.5, 1.0, 26.0, 240.0, 20_000.0, 20_000.0, 70.0]


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("redis-3", replace(COMPARISON, runs={OURS: [RUN]}).result()),
        ("redis-3", replace(COMPARISON, runs={OURS: [BROKEN], DANIHODOVIC: [DEAR], RAW: [RUN]}).result()),
        ("scraped", scraped_with(1)),
    ],
    ids=["not compared", "failed", "lost events"],
)
def test_no_number_is_no_success(name: str, result: Result) -> None:
    """Whoever was not compared, failed or lost events has reached nothing."""
    targets = [target for target in TARGETS if target.result == name]
    values = [target.measured({name: result}) for target in targets]
    assert values == [None] * len(targets)
    assert {target.verdict(None) for target in targets} == {"**no**"}


def test_command_says_what_differs_from_the_defaults() -> None:
    """A benchmark's command makes the same result again."""
    assert Settings().options() == []
    settings = Settings(rounds=3, consumers=("ours", "raw"), rates=[20_000], in_flight=10)
    assert settings.options() == [
        "--consumer=ours",
        "--consumer=raw",
        "--rounds=3",
        "--offer=20000",
        "--in-flight=10",
    ]
