"""How well texts stand out, by the colours that the browser has worked out (WCAG 2.2, relative luminance)."""

import re

from tests.browser.tab import Tab

#: Each visible text with its colour and the first opaque background at or above it.
_COLOURS = """
(() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !parent.checkVisibility() || parent.closest("script, style")) continue;
    let back = parent;
    while (back && getComputedStyle(back).backgroundColor === "rgba(0, 0, 0, 0)") back = back.parentElement;
    found.push([walker.currentNode.data.trim(), getComputedStyle(parent).color,
                getComputedStyle(back || document.documentElement).backgroundColor]);
  }
  return found;
})()
"""


def worst_contrast(tab: Tab) -> float:
    """The smallest ratio between a text and its background."""
    texts = tab.run(_COLOURS)
    assert len(texts) > 50, "the page has texts"
    return min(_ratio(_luminance(text), _luminance(back)) for _, text, back in texts)


def _ratio(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def _luminance(colour: str) -> float:
    channels = re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", colour)
    assert channels is not None, f"{colour} is not opaque"
    red, green, blue = (_linear(int(channel) / 255) for channel in channels.groups())
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: float) -> float:
    return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
