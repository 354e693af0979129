"""Variables filled in as Grafana does it.

Source of the facts: Grafana's documentation of variable syntax (``$name``, ``${name}``, ``${name:format}``), and of its
Prometheus data source: several values become a regular expression ``(a|b)`` with special characters escaped twice,
``$__rate_interval`` is at least four scrapes.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

_VARIABLE: Final = re.compile(r"\$(?:\{(?P<braced>\w+)(?::\w+)?\}|(?P<bare>[A-Za-z_]\w*))")
_SPECIAL: Final = re.compile(r"[\\$^*{}\[\]'+?.()|]")


def intervals(range_s: int, scrape_s: int, step_s: int) -> dict[str, str]:
    """The global variables of a time range and a step."""
    return {
        "__range": f"{range_s}s",
        "__interval": f"{step_s}s",
        "__rate_interval": f"{max(step_s + scrape_s, 4 * scrape_s)}s",
    }


def chosen(values: Sequence[str]) -> str:
    """Values of a variable of which several can be chosen."""
    escaped = [_SPECIAL.sub(lambda found: f"\\\\{found[0]}", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace every variable. Raises KeyError for one that has no value."""
    return _VARIABLE.sub(lambda found: values[found["braced"] or found["bare"]], text)


#: Hidden variables for functions of native histograms, as they are on a server that has none.
NO_FUNCTIONS: Final = dict.fromkeys(("histogram_sum", "histogram_count"), "abs")

#: Something valid for each variable, for whoever parses PromQL without a server.
PLACEHOLDERS: Final = {
    **intervals(range_s=3600, scrape_s=15, step_s=15),
    **dict.fromkeys(("job", "instance", "queue", "task", "worker"), ".+"),
    **NO_FUNCTIONS,
}
