"""What stands on the status page, read from the browser's document."""

from tests.browser.tab import Tab

#: More, in seconds, than a period of the page's script or of the reload without it.
REFRESHED_S = 30.0


def cells(tab: Tab, section: str, row: str) -> list[str]:
    """The cells of the row with this name in the table under this heading; [] if there is none."""
    rows = tab.run(
        f"[...document.querySelectorAll('section[aria-labelledby={section}] tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.innerText))"
    )
    return next(([str(cell) for cell in each[1:]] for each in rows if each[0] == row), [])


def findings(tab: Tab) -> set[str]:
    """The keys of what is missing."""
    ids = tab.run("[...document.querySelectorAll('.missing li')].map((item) => item.id)")
    return {str(each).removeprefix("missing-") for each in ids}
