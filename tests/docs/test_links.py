"""Links lead somewhere: to a file of the repository, to a heading of a page, or to a well-formed address."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import ROOT, anchors, links, pages


def dead(page: Path, text: str) -> list[str]:
    """The links of this page that lead nowhere."""
    found = []
    for link in links(text):
        parts = urlsplit(link)
        if parts.scheme:
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                found.append(link)
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.is_relative_to(ROOT) or not target.exists():
            found.append(link)
        elif parts.fragment:
            there = text if target == page else target.read_text(encoding="utf-8")
            if target.suffix != ".md" or parts.fragment not in anchors(there):
                found.append(link)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Files, folders and headings that are linked are there."""
    assert dead(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "link",
    [
        "docs/none.md",
        "docs/metrics.md#none",
        "#none",
        "../outside.md",
        "ftp://host/x",
        "https:///x",
        "LICENSE#a",
    ],
)
def test_dead_links_are_found(link: str) -> None:
    """Each way to lead nowhere."""
    assert dead(ROOT / "README.md", f"# Title\n\n[text]({link})\n") == [link]


@pytest.mark.parametrize("link", ["#a-title--of-things", "docs/metrics.md#tasks", "docs", "https://host/x#y"])
def test_good_links_pass(link: str) -> None:
    """Headings are linked as GitHub does it."""
    assert dead(ROOT / "README.md", f"# A title / of `things`!\n\n[text]({link})\n") == []


def test_every_page_of_docs_is_linked() -> None:
    """Whoever starts at README.md can find all of docs/."""
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or not page.is_file():
            continue
        seen.add(page)
        if page.suffix == ".md":
            paths = (urlsplit(link) for link in links(page.read_text(encoding="utf-8")))
            todo += [(page.parent / unquote(p.path)).resolve() for p in paths if p.path and not p.scheme]
    assert {page for page in (ROOT / "docs").glob("**/*.md") if page not in seen} == set()
