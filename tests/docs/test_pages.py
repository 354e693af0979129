"""The pages of docs/: an index names each, each begins with what it is about, and a page that is named is there."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, links

DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
PAGES = sorted(page for page in DOCS.glob("**/*.md") if page != INDEX)
#: Where a page is named that is no page of ours: other projects', and a dead link on purpose.
NOT_OURS = {
    "exporter/celery_metrics_exporter/web/config.py": {"docs/web-configuration.md"},
    "tests/docs/test_links.py": {"docs/none.md"},
    "tests/grafana/lint.py": {"docs/index.md"},
}
_NAMED = re.compile(r"(?<![\w/-])docs/[\w/-]+\.md\b")


def unnamed(text: str) -> set[str]:
    """Pages of the repository's folder docs/ that a text names, and that are not there."""
    return {name for name in _NAMED.findall(text) if not (ROOT / name).is_file()}


def texts() -> list[Path]:
    """Everything that git knows and that is text; the changelog may name what was."""
    listed = subprocess.run(
        ["git", "grep", "-lI", "--untracked", "-e", ""], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("an unpacked source distribution has no git")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def test_the_index_has_every_page_once() -> None:
    """A reader who looks for a page finds it in docs/README.md, and in one place."""
    linked = [(INDEX.parent / link).resolve() for link in links(INDEX.read_text(encoding="utf-8"))]
    assert sorted(page for page in linked if page in PAGES) == PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_begins_with_what_it_is_about(page: Path) -> None:
    """A title, and a sentence before the first heading, table or code: nobody has to come from another page."""
    text = page.read_text(encoding="utf-8")
    title, _, rest = re.sub(r"\A<!--.*?-->\s*", "", text).partition("\n")
    assert re.match(r"# \S", title)
    assert re.match(r"\s*[A-Za-z`*]", rest), "no sentence under the title"
    assert len(re.findall(r"^# ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)) == 1


def test_alerts_and_dashboards_are_counted() -> None:
    """The README and the comparison say how many there are."""
    alerts = sum(
        path.read_text(encoding="utf-8").count("- alert: ")
        for path in (ROOT / "grafana/alerts").glob("*.yaml")
    )
    dashboards = len([*(ROOT / "grafana/dashboards").glob("*.json")])
    words = {5: "five", 6: "six", 7: "seven", 8: "eight"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{alerts} alerts" in readme
    assert f"one of {words[dashboards]} [dashboards]" in readme
    assert f"| {alerts} and {dashboards}, tested |" in (DOCS / "comparison.md").read_text(encoding="utf-8")


def test_named_pages_are_there() -> None:
    """In code, rules, dashboards, chart, tests and messages to users too."""
    found = {
        str(path.relative_to(ROOT)): names
        for path in texts()
        if path != Path(__file__) and (names := unnamed(path.read_text(encoding="utf-8", errors="replace")))
    }
    assert found == NOT_OURS


def test_unnamed_pages_are_found() -> None:
    """Not those of other projects, which stand behind a path or an address."""
    assert unnamed("see docs/operations.md and docs/metrics.md") == {"docs/operations.md"}
    assert unnamed("kombu/docs/nowhere.md, https://host/docs/nowhere.md") == set()
