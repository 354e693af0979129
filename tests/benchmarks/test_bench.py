"""The benchmarks' own parts: what is made of the figures, what a result says, what the page says of results."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.events.consumers import DANIHODOVIC, OURS, RAW
from benchmarks.events.measure import Run, Shape
from benchmarks.events.rounds import Comparison
from benchmarks.figures import percentile, ratios, spread
from benchmarks.in_flight import Memory
from benchmarks.kept import Kept, keep, read
from benchmarks.load.scraped import Scraped
from benchmarks.load.sustained import SOFT_LIMIT_BYTES, Offer, Sustained
from benchmarks.machine import Machine
from benchmarks.markdown import table
from benchmarks.page import page
from benchmarks.quote import quoted_in
from benchmarks.scrapes.measure import Page, Scrape, Size
from benchmarks.settings import Settings
from benchmarks.targets import TARGETS, Target

RUN = Run(cpu=1.0, events=100_000, seconds=4.0, memory=50_000_000, failure="")
DEAR = replace(RUN, cpu=15.0)
BROKEN = replace(RUN, failure="task-sent: 1 of 2")
COMPARISON = Comparison(
    title="Redis protocol, lists of 3",
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
SUSTAINED = Sustained(list_size=3, broker="Valkey 9.1.2", limit=150_000.0, offers=[OFFER])
SCRAPED = Scraped(
    broker="Valkey 9.1.2",
    rate=20_000,
    series=10_000,
    late=0.0,
    missing=0,
    lost=0,
    latencies={"text": [0.02, 0.03], "OpenMetrics, gzip": [0.04, 0.07]},
)
SCRAPE = Scrape(latency=0.02, cpu=0.01, size=1000)
SIZE = Size(
    series=100_010,
    encoders={"text": {"ours": [0.1, 0.1, 0.1], "prometheus_client": [2.0, 2.6, 2.7]}},
    pages=[Page(format="text", gzip=True, scrapes={"ours": [SCRAPE], "prometheus_client": [SCRAPE]})],
)
MEMORY = Memory(tasks=1_000_000, megabytes=240.0, rest=70.0)
RESULTS = {
    "redis-3": COMPARISON,
    "sustained-3": SUSTAINED,
    "scraped": SCRAPED,
    "scrapes-100000": SIZE,
    "in-flight": MEMORY,
}


def kept(date: str = "2026-08-22") -> dict[str, Kept]:
    """Results with what is kept beside them."""
    return {
        part: Kept(
            date=date,
            seconds=60.0,
            command=f"python -m benchmarks --table {part}",
            machine=Machine(hardware="a machine", python="CPython 3.11"),
            result=result,
        )
        for part, result in RESULTS.items()
    }


@pytest.mark.parametrize(("share", "value"), [(0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)])
def test_percentile_is_the_nearest_rank(share: float, value: float) -> None:
    """A percentile is one of the values, whatever their order."""
    assert percentile(list(range(100, 0, -1)), share) == value


def test_percentile_of_one_is_that_one() -> None:
    """A single value is every percentile."""
    assert percentile([7.0], 0.5) == percentile([7.0], 1.0) == 7.0


def test_spread_is_median_and_ends() -> None:
    """The middle, and the ends; nothing at all is a failure, in words."""
    assert spread([3.0, 1.0, 1234.5], 1) == ("3.0", "1.0 - 1,234.5")
    assert spread([], 1) == ("failed", "failed")


def test_ratios_are_taken_side_by_side() -> None:
    """Each with its neighbour, and as many of the ones as of the others."""
    assert ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([4.0, 9.0], [2.0])


def test_failed_runs_count_nowhere() -> None:
    """Costs leave a failed run out, ratios the whole round, and it is told."""
    assert COMPARISON.costs(OURS) == [10.0, 10.0]
    assert COMPARISON.ratios(DANIHODOVIC, OURS) == [15.0, 16.0]
    assert COMPARISON.failures() == [f"round 3, {OURS}: task-sent: 1 of 2"]


@pytest.mark.parametrize(
    "changes",
    [{"counted": 599_999}, {"lost": 1}, {"left": SOFT_LIMIT_BYTES}, {"late": 1.0}],
    ids=lambda changes: next(iter(changes)),
)
def test_offer_is_sustained_only_when_all_is_well(changes: dict[str, float]) -> None:
    """One lost event, one lost connection, a backlog or a late generator: none of these counts."""
    assert OFFER.sustained
    assert not replace(OFFER, **changes).sustained  # type: ignore[arg-type]  # of any field


def test_highest_rate_has_all_lower_ones_below_it() -> None:
    """A rate that was sustained by luck, above one that was not, does not count."""
    good, bad = replace(OFFER, rate=30_000), replace(OFFER, rate=40_000, lost=1)
    lucky = replace(OFFER, rate=50_000)
    assert replace(SUSTAINED, offers=[OFFER, good, bad, lucky]).highest == 30_000
    assert replace(SUSTAINED, offers=[OFFER, replace(good, lost=1), good, bad]).highest == 30_000
    assert replace(SUSTAINED, offers=[bad]).highest == 0


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
    target = Target(
        what="", goal=goal, stretch=stretch, part="in-flight", value=lambda _: None, at_most=at_most
    )
    assert {value: target.verdict(value) for value in values} == values


def test_targets_find_their_numbers() -> None:
    """Each is found in the result of its part, as the issue words it; what was not measured says so."""
    found = {target.what: target.row(RESULTS)[-2:] for target in TARGETS}
    assert list(found.values()) == [
        ("15.5x", "yes"),
        ("not measured", ""),
        ("not measured", ""),
        ("1.00x", "yes"),
        ("26.0x", "yes, and the stretch"),
        ("240 MB", "yes, and the stretch"),
        ("not measured", ""),
        ("20,000", "**no**"),
        ("70.0 ms", "yes"),
    ]


@pytest.mark.parametrize(
    ("part", "result"),
    [
        ("redis-3", replace(COMPARISON, runs={OURS: [RUN]})),
        ("redis-3", replace(COMPARISON, runs={OURS: [BROKEN], DANIHODOVIC: [DEAR], RAW: [RUN]})),
        ("scraped", replace(SCRAPED, missing=1)),
    ],
)
def test_no_number_is_no_success(part: str, result: object) -> None:
    """Whoever was not compared, failed or lost events has reached nothing."""
    rows = [target.row({part: result}) for target in TARGETS if target.part == part]
    assert [row[-2:] for row in rows] == [("failed", "**no**")] * len(rows)


def test_results_survive_their_files(tmp_path: Path) -> None:
    """What is read equals what was kept, of every kind; a part without a file is left out."""
    for part, result in kept().items():
        keep(tmp_path, part, result)
    assert read(tmp_path) == kept()
    (tmp_path / "redis-3.json").unlink()
    assert "redis-3" not in read(tmp_path)


def test_page_tells_everything() -> None:
    """Every part has its heading, every table as many cells in each row, and consumers their versions."""
    text = page(kept())
    for heading in (
        "### Redis protocol, lists of 3",
        "### Sustained rates, lists of 3",
        "### Scrapes of 10,000 series while 20,000 events a second come in",
        "### 100,010 series",
        "With 1,000,000 tasks in flight",
    ):
        assert heading in text
    assert f"- {DANIHODOVIC}: celery 5.6.3" in text
    assert "- Date: 2026-08-22\n" in text
    for block in text.split("\n\n"):
        if block.startswith("| "):
            assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_page_says_that_parts_are_older() -> None:
    """Where parts were measured on several days the page says so, and each part says on which."""
    text = page({**kept(), "in-flight": kept("2026-08-20")["in-flight"]})
    assert "different days, 2026-08-20 to 2026-08-22" in " ".join(text.split())
    assert "- 2026-08-20, 60 s: `python -m benchmarks --table in-flight`" in text
    assert "- 2026-08-22, 60 s: `python -m benchmarks --table redis-3`" in text


def test_readme_is_quoted_in_its_section_only() -> None:
    """The section on cost is written anew, and written again it is the same; the rest stays."""
    before, after = "# x\n\n## Use\n\ntext\n\n## Cost\n", "## Work on it\n\nmore\n"
    text = quoted_in(f"{before}\nold \\1 text\n\n{after}", kept())
    assert text.startswith(before)
    assert text.endswith(f"\n\n{after}")
    assert "old" not in text
    assert "| consumer | Redis, lists of 3 |" in text
    assert f"| {DANIHODOVIC} | 150.0 |" in text
    assert "20,000 in lists of 3." in " ".join(text.split())
    assert quoted_in(text, kept()) == text


@pytest.mark.parametrize("readme", ["# x\n", "## Cost\n\nthe end\n"])
def test_readme_without_the_section_is_refused(readme: str) -> None:
    """Nothing is written where it does not belong."""
    with pytest.raises(ValueError, match="no section"):
        quoted_in(readme, kept())


def test_command_says_what_differs_from_the_defaults() -> None:
    """A part's command makes the same part again."""
    assert Settings().options() == []
    settings = Settings(rounds=3, consumers=("ours", "raw"), rates=[20_000], in_flight=10)
    assert settings.options() == [
        "--consumer=ours",
        "--consumer=raw",
        "--rounds=3",
        "--offer=20000",
        "--in-flight=10",
    ]


def test_table_aligns_numbers_to_the_right() -> None:
    """The first column is text."""
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
