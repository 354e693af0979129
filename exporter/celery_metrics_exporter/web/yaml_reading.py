"""Reads YAML strictly, as Go's yaml.v2 does with UnmarshalStrict, and knows on which line everything stands.

Owns what a scalar means, unknown and repeated keys, merge keys.

Facts: yaml.v2 (decode.go, resolve.go) takes any scalar for a text, as it is written; nothing (``key:``) for the
default; only the words of YAML 1.1 for a flag, and no text in quotes.
"""

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from celery_metrics_exporter.errors import ConfigError

Node: TypeAlias = yaml.Node

_TAG = "tag:yaml.org,2002:"
_TRUE = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE = frozenset(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_KINDS = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, counted from 1, that can be blamed."""

    path: str
    line: int

    def refuse(self, reason: str) -> ConfigError:
        """The error that says what is wrong here."""
        return ConfigError(f"{self.path}, line {self.line}: {reason}")


class Reading:
    """One file, read entry by entry. Every method raises ConfigError with file, line and reason."""

    def __init__(self, path: str, content: bytes) -> None:
        """Args:
        path: how the file is called in errors.
        content: UTF-8, or UTF-16 with its mark.
        """
        self._path = path
        self._reading: set[int] = set()  # mappings that are being merged
        self.root = self._compose(content)

    def place(self, node: Node) -> Place:
        """Where it stands."""
        return Place(self._path, node.start_mark.line + 1)

    def mapping(self, node: Node | None, what: str, known: Collection[str] | None = None) -> dict[str, Node]:
        """The entries of a mapping, nothing being an empty one; ``known`` are the keys that there are."""
        if node is None or _is_null(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong_kind(node, what, "a mapping")
        if id(node) in self._reading:
            raise self.place(node).refuse(f"{what} is merged into itself")
        self._reading.add(id(node))
        merged: dict[str, Node] = {}
        own: dict[str, Node] = {}
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                for source in value.value if isinstance(value, yaml.SequenceNode) else (value,):
                    merged |= self.mapping(source, what, known) | merged
                continue
            name = self._key(key, what, known)
            if name in own:
                raise self.place(key).refuse(f"{what} has {name} twice")
            own[name] = value
        self._reading.discard(id(node))
        return merged | own

    def text(self, node: Node | None, what: str) -> str:
        """A scalar as it is written; nothing is an empty text."""
        if node is None or _is_null(node):
            return ""
        if not isinstance(node, yaml.ScalarNode):
            raise self._wrong_kind(node, what, "a text")
        return str(node.value)

    def texts(self, node: Node | None, what: str) -> list[tuple[str, Place]] | None:
        """A list of texts, each with its place; None where nothing stands."""
        if node is None or _is_null(node):
            return None
        if not isinstance(node, yaml.SequenceNode):
            raise self._wrong_kind(node, what, "a list")
        return [(self.text(item, f"an entry of {what}"), self.place(item)) for item in node.value]

    def flag(self, node: Node | None, what: str, *, default: bool) -> bool:
        """True or false."""
        if node is None or _is_null(node):
            return default
        if isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _TRUE | _FALSE:
            return node.value in _TRUE
        raise self.place(node).refuse(f"{what} must be true or false, without quotes")

    def whole(self, node: Node | None, what: str) -> int:
        """A whole number; nothing is 0."""
        if node is None or _is_null(node):
            return 0
        if isinstance(node, yaml.ScalarNode) and node.style is None and re.fullmatch(r"[+-]?\d+", node.value):
            return int(node.value)
        raise self.place(node).refuse(f"{what} must be a whole number")

    def _compose(self, content: bytes) -> Node | None:
        try:
            text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise Place(self._path, line).refuse("this is not UTF-8") from None
        try:
            return _compose(text)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise Place(self._path, line).refuse("a character that YAML does not allow") from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            reason = ", ".join(part for part in (error.context, error.problem) if part)
            raise Place(self._path, line).refuse(f"this is no YAML: {reason}") from None
        except RecursionError:
            raise Place(self._path, 1).refuse("this is nested too deeply") from None

    def _key(self, key: Node, what: str, known: Collection[str] | None) -> str:
        if not isinstance(key, yaml.ScalarNode):
            raise self.place(key).refuse(f"a key of {what} must be a text")
        name = str(key.value)
        if known is None or name in known:
            return name
        raise self.place(key).refuse(f"unknown key {name} in {what}{nearest(name, known)}")

    def _wrong_kind(self, node: Node, what: str, wanted: str) -> ConfigError:
        return self.place(node).refuse(f"{what} must be {wanted}, not {_KINDS[type(node)]}")


def nearest(name: str, known: Collection[str]) -> str:
    """What to write instead of a name that is not known, to be appended to the error."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6) or [
        each for each in names if each.lower() == name.lower()
    ]
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"


def _compose(text: str) -> Node | None:
    node: Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    for each in _all_nodes(node):
        if each.tag.startswith("!") or each.tag == f"{_TAG}binary":
            raise yaml.MarkedYAMLError(problem=f"unknown tag {each.tag}", problem_mark=each.start_mark)
    return node


def _all_nodes(root: Node | None) -> Iterator[Node]:
    waiting = [] if root is None else [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias, which may even lead back to where it stands
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _is_null(node: Node) -> bool:
    return bool(node.tag == f"{_TAG}null")
