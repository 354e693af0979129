"""How the page looks with everything wrong and the worst of names: on a phone, in the dark, to those who see less."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Chromium
from tests.browser.contrast import worst_contrast
from tests.browser.crowded import NAMES, crowded
from tests.browser.reading import REFRESHED_S, findings
from tests.browser.tab import Tab
from tests.serving import FixedStatus, serving, url_of
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("chromium")

#: What reaches over the right edge of the page or of its card, other than headings that a phone does not show.
_STICKING_OUT = """
[...document.querySelectorAll("body *")].filter((element) => {
  const edge = (element.closest("section") || document.documentElement).getBoundingClientRect().right;
  return !element.closest("thead") && element.checkVisibility() && element.getBoundingClientRect().right > edge + 0.5;
}).map((element) => element.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """Where the crowded page is served."""
    with serving(status=FixedStatus(seen=crowded())) as server:
        yield url_of(server) + "/"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "lost"])
def test_contrast(chromium: Chromium, dark: bool, connected: bool) -> None:
    """Every text stands out from what is behind it by 4.5 to 1, whatever the page has to say."""
    with (
        serving(status=FixedStatus(seen=crowded(connected=connected))) as server,
        Tab(chromium, dark=dark) as tab,
    ):
        tab.open(url_of(server) + "/")
        back = tab.run("getComputedStyle(document.body).backgroundColor")
        assert back == ("rgb(14, 17, 22)" if dark else "rgb(246, 247, 249)")
        assert len(findings(tab)) > 15
        assert worst_contrast(tab) >= 4.5


@pytest.mark.parametrize("width", [320, 360, 768, 960, 1280, 1920])
def test_nothing_sticks_out(page: str, chromium: Chromium, width: int) -> None:
    """At the width of a phone as of a desktop nothing has to be moved sideways, and no text leaves its card."""
    with Tab(chromium, width=width, height=740, mobile=width < 500) as tab:
        tab.open(page)
        assert tab.run("document.documentElement.scrollWidth") == width
        assert tab.run(_STICKING_OUT) == []


def test_narrow_desktop_scrolls_within_the_card(page: str, chromium: Chromium) -> None:
    """Where numbers of ten digits leave too little room for a table, its card scrolls: nothing is cut off."""
    with Tab(chromium, width=1000, height=740) as tab:
        tab.open(page)
        assert tab.run("document.documentElement.scrollWidth") == 1000
        assert tab.run(
            "[...document.querySelectorAll('section')].every((card) =>"
            " card.scrollWidth === card.clientWidth || getComputedStyle(card).overflowX === 'auto')"
        )


def test_marks_do_not_climb(page: str, chromium: Chromium) -> None:
    """A name whose marks pile up is no higher than its lines, and each name stands where no other does."""
    with Tab(chromium) as tab:
        tab.open(page)
        (shown,) = [each for each in tab.texts("section[aria-labelledby=busiest] tbody th") if each[0] == "e"]
        assert shown == "e" + "\\u0301" * (len(NAMES[3]) - 1)


def test_phone_labels_every_number(page: str, chromium: Chromium) -> None:
    """Where a row becomes a card, each cell shows its heading, and the table stays one for screen readers."""
    with Tab(chromium, width=360, height=740, mobile=True) as tab:
        tab.open(page)
        shown = tab.run(
            "[...document.querySelectorAll('section[aria-labelledby=busiest] tr:nth-child(1) td')]"
            ".map((cell) => getComputedStyle(cell, '::before').content)"
        )
        assert shown == [
            f'"{heading}"'
            for heading in (
                "Queue",
                "Per second",
                "Running",
                "Started",
                "Succeeded",
                "Failed",
                "Retried",
                "Run time",
                "Wait",
            )
        ]
        tree = tab.ask("Accessibility.getFullAXTree")["nodes"]
        roles = [node["role"]["value"] for node in tree if not node["ignored"]]
        assert roles.count("table") == 5
        assert {"row", "rowheader", "columnheader", "cell"} <= set(roles)


def test_hostile_page_does_nothing(page: str, chromium: Chromium) -> None:
    """No name runs a script, opens a dialog or asks for anything, also after the page has renewed itself."""
    with Tab(chromium) as tab:
        tab.open(page)
        wait_for(lambda: len(tab.requests) > 1, timeout=REFRESHED_S, what="a refresh")
        assert tab.run("[document.scripts.length, document.images.length]") == [1, 0]
        assert set(tab.requests) == {page}
        assert (tab.dialogs, tab.complaints) == ([], [])


def test_policy_lets_no_other_script_run(page: str, chromium: Chromium) -> None:
    """Were a name to become markup after all, the browser would still refuse to run it, or to fetch what it names."""
    with Tab(chromium) as tab:
        tab.open(page)
        tab.run('void (document.body.innerHTML += \'<img src="/x.png"><a onclick="alert(1)">x</a>\')')
        tab.run("document.querySelector('a[onclick]').click()")
        wait_for(lambda: len(tab.complaints) > 1, timeout=REFRESHED_S, what="the browser's complaints")
        assert "script-src" in str(tab.complaints)
        assert "img-src" in str(tab.complaints)
        assert tab.dialogs == []


def test_pause(page: str, chromium: Chromium) -> None:
    """Whoever reads can stop the page, and let it go on; with a page that is paused nothing is asked for."""
    with Tab(chromium) as tab:
        tab.open(page)
        tab.run("document.querySelector('#pause').click()")
        assert tab.text("#pause") == "Resume"
        stopped = len(tab.requests)
        tab.run("document.querySelector('#pause').click()")
        assert tab.text("#pause") == "Pause"
        wait_for(lambda: len(tab.requests) > stopped, timeout=REFRESHED_S, what="a request")


def test_password_in_the_address(page: str, chromium: Chromium) -> None:
    """An address with user and password, which fetch refuses, does not keep the page from renewing itself."""
    with Tab(chromium) as tab:
        tab.open(page.replace("http://", "http://user:password@"))
        wait_for(lambda: len(tab.requests) > 1, timeout=REFRESHED_S, what="a refresh")
        assert tab.complaints == []
        assert tab.run("document.querySelector('#stale').hidden")
