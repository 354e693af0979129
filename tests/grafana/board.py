"""The committed dashboards as data: panels, queries and variables, read from the JSON that Grafana would import.

Owns the knowledge of where Grafana keeps what. Knows nothing of the source that the JSON is made from.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"

Json = dict[str, Any]


#: Of the variables that nobody is shown.
_HIDDEN: Final = 2
_LASTING: Final = re.compile(
    r"query_result\(count by \((?P<label>\w+)\) \(last_over_time\((?P<selector>.*)\[1d\]\)\)\)"
)


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel; ``panel`` is the title of its row and its own."""

    panel: str
    name: str
    expr: str
    instant: bool
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard: the name of its file without the suffix, and its JSON."""

    name: str
    json: Json

    def panels(self) -> Iterator[Json]:
        """Every panel, those of collapsed rows among them, rows themselves not."""
        for _, panel in self.panels_by_row():
            yield panel

    def panels_by_row(self) -> Iterator[tuple[str, Json]]:
        """Every panel with the title of the row that it stands in."""
        row = ""
        for panel in self.json["panels"]:
            if panel["type"] != "row":
                yield row, panel
                continue
            row = panel["title"]
            for inner in panel.get("panels", ()):
                yield row, inner

    def rows(self) -> list[Json]:
        """The headings."""
        return [panel for panel in self.json["panels"] if panel["type"] == "row"]

    def targets(self) -> Iterator[Target]:
        """Every query of every panel."""
        for row, panel in self.panels_by_row():
            for target in panel["targets"]:
                yield Target(
                    f"{row} / {panel['title']}",
                    target["refId"],
                    target["expr"],
                    instant=target["instant"],
                    exemplars=target.get("exemplar", False),
                )

    def variables(self) -> list[Json]:
        """The variables, in the order in which Grafana asks for their values."""
        return list(self.json["templating"]["list"])

    def queried_variables(self) -> dict[str, str]:
        """Name -> query, of those that offer what the data source has."""
        return {name: query for name, query, hidden in self._queried() if not hidden}

    def functions(self) -> dict[str, str]:
        """Name -> PromQL, of the hidden variables: its result has the function that stands in the variable's place."""
        return {
            name: query.removeprefix("query_result(").removesuffix(")")
            for name, query, hidden in self._queried()
            if hidden
        }

    def _queried(self) -> Iterator[tuple[str, str, bool]]:
        for variable in self.variables():
            if variable["type"] == "query":
                yield variable["name"], variable["query"]["query"], variable.get("hide") == _HIDDEN

    def annotations(self) -> dict[str, str]:
        """Name -> expression."""
        return {annotation["name"]: annotation["expr"] for annotation in self.json["annotations"]["list"]}

    def expressions(self) -> Iterator[tuple[str, str]]:
        """All PromQL with the place where it stands: panels, annotations, and the selectors of variables."""
        for target in self.targets():
            yield f"{self.name}: {target.panel} {target.name}", target.expr
        for name, expr in self.annotations().items():
            yield f"{self.name}: annotation {name}", expr
        for name, query in self.queried_variables().items():
            yield f"{self.name}: variable {name}", label_values(query)[0]
        for name, expr in self.functions().items():
            yield f"{self.name}: variable {name}", expr


def label_values(query: str) -> tuple[str, str]:
    """The selector and the label that a variable asks for.

    ``label_values(selector, label)``, or ``query_result(count by (label) (last_over_time(selector[1d])))``.
    """
    if found := _LASTING.fullmatch(query):
        return found["selector"], found["label"]
    selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(",")
    return selector.strip(), label.strip()


def boards() -> list[Board]:
    """Every committed dashboard."""
    return [
        Board(path.stem, json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(FOLDER.glob("*.json"))
    ]
