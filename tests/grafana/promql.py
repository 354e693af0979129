"""PromQL as a tree: what stands where in an expression whose variables have been filled in.

Owns the walk over ``promql_parser``'s nodes. Knows no rule.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import promql_parser
from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    MatrixSelector,
    ParenExpr,
    VectorSelector,
)

from tests.grafana.interpolation import PLACEHOLDERS, fill

#: Attributes that hold the nodes below a node.
_BELOW: Final = ("lhs", "rhs", "expr", "param", "vector_selector")

#: A node and those above it, the nearest first.
Place = tuple[Any, Sequence[Any]]


def parse(text: str) -> Any:
    """Parse an expression of a dashboard. Raises ValueError with the parser's words, KeyError for a variable."""
    return promql_parser.parse(fill(text, PLACEHOLDERS))


def walk(node: Any, above: Sequence[Any] = ()) -> Iterator[Place]:
    """Every node; parentheses are left out."""
    if isinstance(node, ParenExpr):
        yield from walk(node.expr, above)
        return
    yield node, above
    below = [getattr(node, name, None) for name in _BELOW]
    if isinstance(node, Call):
        below += node.args
    for child in below:
        if child is not None:
            yield from walk(child, (node, *above))


def selectors(text: str) -> Iterator[tuple[VectorSelector, Sequence[Any]]]:
    """Every selector of an expression, with the nodes above it."""
    for node, above in walk(parse(text)):
        if isinstance(node, VectorSelector):
            yield node, above


def names(selector: VectorSelector) -> list[str]:
    """The metrics that a selector names, by its name or by a list of them."""
    if selector.name is not None:
        return [selector.name]
    return [
        name
        for found in selector.matchers.matchers
        if found.name == "__name__"
        for name in found.value.split("|")
    ]


def matchers(selector: VectorSelector) -> dict[str, str]:
    """Label -> what it is compared with."""
    return {found.name: found.value for found in selector.matchers.matchers}


def function(above: Sequence[Any]) -> str | None:
    """The function whose range a selector is, if it is one: ``rate`` of ``rate(a[5m])``."""
    if len(above) > 1 and isinstance(above[0], MatrixSelector) and isinstance(above[1], Call):
        return str(above[1].func.name)
    return None


def kept_labels(node: AggregateExpr) -> list[str] | None:
    """Labels that an aggregation keeps; None for `without`, which keeps whatever there is."""
    if node.modifier is None:
        return []
    return list(node.modifier.labels) if node.modifier.type == AggModifierType.By else None


def used_labels(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each label that is compared, kept or matched on, with the metrics that are in its reach; not those made here."""
    tree = parse(text)
    made = {
        str(node.args[1].val)
        for node, _ in walk(tree)
        if isinstance(node, Call) and node.func.name in {"label_replace", "label_join"}
    }
    yield from ((label, metrics) for label, metrics in _used_labels(tree) if label not in made)


def _used_labels(tree: Any) -> Iterator[tuple[str, list[str]]]:
    for node, _ in walk(tree):
        if isinstance(node, VectorSelector):
            for label in matchers(node):
                yield label, names(node)
            continue
        inside = [
            name for found, _ in walk(node) if isinstance(found, VectorSelector) for name in names(found)
        ]
        if isinstance(node, AggregateExpr) and node.modifier is not None:
            for label in node.modifier.labels:
                yield label, inside
        elif (
            isinstance(node, BinaryExpr) and node.modifier is not None and node.modifier.matching is not None
        ):
            for label in node.modifier.matching.labels:
                yield label, inside


def is_positive(node: Any) -> bool:
    """Whether a node is a comparison ``... > 0``, which drops what is 0 or NaN."""
    while isinstance(node, ParenExpr):
        node = node.expr
    return isinstance(node, BinaryExpr) and str(node.op) == ">" and getattr(node.rhs, "val", None) == 0
