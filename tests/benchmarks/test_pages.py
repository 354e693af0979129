"""The pages of results: they show what is under benchmarks/results, all of it, and nothing else."""

import re
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.events.rounds import IDLE_SECONDS
from benchmarks.render import FOLDER, PAGES, SUMMARIES, environment, fill, native, section, shown, table
from benchmarks.results import Result, Spread, Table, read, write
from benchmarks.stream import FAILING, KINDS, QUEUES, WORKERS
from tests.docs.pages import ROOT, tables
from tests.matrix.columns import COLUMNS

RESULTS = read(FOLDER)
RESULT = Result(
    facts={"broker": "Valkey 9.1.2", "tasks": 10_000, "ratio": 15.114, "limit": None},
    tables=[
        Table({"consumer": "", "cost": ",.1f"}, [["ours", Spread(11.12, 8.0, 1200.0)], ["theirs", None]])
    ],
    versions={"ours": {"celery": "5.7.0", "kombu": "5.7.0"}},
    command="python -m benchmarks --table redis-3",
    seconds=59.6,
    date="2026-08-22",
    machine="a machine",
    python="CPython 3.11",
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_shows_the_results(page: Path) -> None:
    """What is committed is what `python -m benchmarks.render` writes, the README's quotation too."""
    text = page.read_text(encoding="utf-8")
    assert "<!-- result: " in text
    assert fill(text, RESULTS) == text, "run `python -m benchmarks.render`"


def test_every_result_is_shown() -> None:
    """Each file stands on a page, and there is one for each benchmark, the soak, the image, the fuzzer and columns."""
    shown_names = {
        name
        for page in PAGES
        for name in re.findall(r"<!-- result: (\S+) -->", page.read_text(encoding="utf-8"))
    }
    columns = {name for name in RESULTS if name.startswith("matrix-")}
    assert columns <= {f"matrix-{name}" for name in COLUMNS}
    assert set(RESULTS) - columns == {*BENCHMARKS, "soak", "image", "fuzz"}
    assert set(RESULTS) - columns == shown_names - {"environment", *SUMMARIES}


def test_only_marked_blocks_are_written() -> None:
    """What stands outside of markers stays, and written again the page is the same."""
    page = "# x\n<!-- result: a -->\nold \\1 text\n<!-- end -->\nmore\n"
    text = fill(page, {"a": RESULT})
    assert text == f"# x\n<!-- result: a -->\n\n{section(RESULT)}\n\n<!-- end -->\nmore\n"
    assert fill(text, {"a": RESULT}) == text


def test_page_of_an_unknown_result_is_refused() -> None:
    """A marker that names nothing is an error, no empty block."""
    with pytest.raises(KeyError, match="none"):
        fill("<!-- result: none -->\n<!-- end -->\n", {"a": RESULT})


def test_section_tells_everything() -> None:
    """Facts, when and how it was measured, and the tables; what failed is said."""
    assert section(RESULT) == (
        "- broker: Valkey 9.1.2\n- tasks: 10,000\n- ratio: 15.1\n- limit: failed\n"
        "- measured on 2026-08-22 in 60 s by `python -m benchmarks --table redis-3`\n\n"
        "| consumer | cost |\n| --- | ---: |\n| ours | 11.1 (8.0 - 1,200.0) |\n| theirs | failed |"
    )


def test_environment_tells_what_changed_in_between() -> None:
    """Machine, Python and versions stand once, or with each other where they differ."""
    other = Result(
        facts={}, versions={"ours": {"celery": "5.8.0"}}, machine="a machine", python="CPython 3.12"
    )
    assert environment([RESULT, other]) == (
        "- machine: a machine\n- Python: CPython 3.11 / CPython 3.12\n"
        "- ours: celery 5.7.0, kombu 5.7.0 / celery 5.8.0"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (80_000, "80,000"),
        (0.0612, "0.06"),
        (43.64, "43.6"),
        (1474.8, "1,475"),
        ("yes", "yes"),
        (None, "failed"),
    ],
)
def test_facts_have_three_digits(value: float | str | None, text: str) -> None:
    """Whole numbers have all of theirs."""
    assert shown(value) == text


def test_table_refuses_a_row_that_does_not_fit() -> None:
    """A row has a value for each column."""
    with pytest.raises(ValueError, match="longer"):
        table({"a": "", "b": ","}, [["x"]])


def test_results_survive_their_files(tmp_path: Path) -> None:
    """What is read equals what was written, and a row stands in one line."""
    write(tmp_path / "new", "a", RESULT)
    (found,) = read(tmp_path / "new").items()
    assert found == ("a", RESULT)
    lines = (tmp_path / "new" / "a.json").read_text(encoding="utf-8").splitlines()
    assert '    [ "ours", { "median": 11.12, "min": 8.0, "max": 1200.0 } ],' in lines


def test_the_readme_quotes_native_histograms() -> None:
    """The series of either kind, and the median and worst error of a p95; without a result it says so."""
    assert native({}) == "Not measured yet."
    servers = Table({"Prometheus takes": "", "series": ","}, [["classic", 73_456], ["native", 5_012]])
    kinds = [f"{kind}, {which}, %" for kind in ("classic", "native") for which in ("median", "worst")]
    errors = Table({"": "", **dict.fromkeys(kinds, ",.1f")}, [["log-normal, p95", 20.0, 55.4, 2.0, 4.4]])
    result = Result(
        facts={}, tables=[servers, servers, errors], versions={"Prometheus": {"Prometheus": "3.5.3+ds1"}}
    )
    text = native({"histograms": result})
    assert "Prometheus 3.5.3 holds 5,012 series if it takes native histograms, and 73,456 with" in text
    assert "is off by 2.0 % (at worst 4 %), instead of 20.0 % (at worst 55 %)" in text


def test_every_row_of_a_page_fits_its_table() -> None:
    """No text in a result breaks a table."""
    for page in PAGES:
        for head, rows in tables(page.read_text(encoding="utf-8")):
            assert {len(row) for row in rows} == {len(head)}, head


def test_method_tells_the_constants() -> None:
    """What the page says of the stream and of idling is so."""
    text = " ".join((ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8").split())
    assert f"tasks of {KINDS} kinds on {len(QUEUES)} queues" in text
    assert f"({FAILING:.0%} failed, with a traceback), and the heartbeats of {len(WORKERS)} workers" in text
    assert f"consumer in {IDLE_SECONDS:.0f} s without events" in text
    assert f"{KINDS} names, {len(QUEUES)} queues, {len(WORKERS)} workers" in text
