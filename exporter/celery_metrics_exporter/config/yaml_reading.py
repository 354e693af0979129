"""Reads YAML strictly, as Go's yaml.v2 does with UnmarshalStrict, and knows on which line everything stands.

Owns what a scalar means, unknown and repeated keys, merge keys.

Facts: yaml.v2 (decode.go, resolve.go) takes any scalar for a text, as it is written; nothing (``key:``) for the
default; only the words of YAML 1.1 for a flag, and no text in quotes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import yaml

from celery_metrics_exporter.errors import ConfigError

_TAG = "tag:yaml.org,2002:"
_TRUE = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE = frozenset(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_KINDS = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}
_NAME_OF = re.compile(r"\b(alias|anchor|tag handle|tag) .*")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Entry:
    """A value in a file. Every method that reads it raises ConfigError with file, line and reason.

    ``name`` is what errors call it. ``node`` is None where the file does not have it; then ``line``, counted from 1, is
    that of the mapping that could have it.
    """

    path: str
    name: str
    line: int = 1
    node: yaml.Node | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether the default holds."""
        return self.node is None or bool(self.node.tag == f"{_TAG}null")

    def refuse(self, reason: str) -> ConfigError:
        """The error that says what is wrong here."""
        return ConfigError(f"{self.path}, line {self.line}: {reason}")

    def entries(self, known: Collection[str] | None = None, within: tuple[yaml.Node, ...] = ()) -> Entries:
        """The entries of a mapping, nothing being an empty one.

        ``known`` are the keys that there are. ``within``: the mappings into which this one is merged.
        """
        if self.is_nothing:
            return Entries(self, {})
        if not isinstance(self.node, yaml.MappingNode):
            raise self._wrong_kind("a mapping")
        if self.node in within:
            raise self.refuse(f"{self.name} is merged into itself")
        merged: dict[str, Entry] = {}
        own: dict[str, Entry] = {}
        for key, value in self.node.value:
            if key.tag == f"{_TAG}merge":
                for source in value.value if isinstance(value, yaml.SequenceNode) else (value,):
                    merged = self._at(source, self.name).entries(known, (*within, self.node)) | merged
                continue
            name = self._key(key, known)
            if name in own:
                raise self._at(key, name).refuse(f"{self.name} has {name} twice; remove one")
            own[name] = self._at(value, name)
        return Entries(self, merged | own)

    def items(self) -> list[Entry]:
        """The entries of a list, nothing being an empty one."""
        if self.is_nothing:
            return []
        if not isinstance(self.node, yaml.SequenceNode):
            raise self._wrong_kind("a list")
        return [self._at(item, f"an entry of {self.name}") for item in self.node.value]

    def text(self) -> str:
        """A scalar as it is written; nothing is an empty text."""
        if self.is_nothing:
            return ""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self._wrong_kind("a text")
        return str(self.node.value)

    def flag(self, *, default: bool) -> bool:
        """True or false."""
        if self.is_nothing:
            return default
        if (word := self._plain()) in _TRUE | _FALSE:
            return word in _TRUE
        raise self.refuse(f"{self.name} must be true or false, without quotes")

    def whole(self) -> int:
        """A whole number; nothing is 0."""
        if self.is_nothing:
            return 0
        if re.fullmatch(r"[+-]?\d+", number := self._plain()):
            return int(number)
        raise self.refuse(f"{self.name} must be a whole number")

    def _plain(self) -> str:
        """A scalar that stands without quotes, else "", which needs them."""
        if isinstance(self.node, yaml.ScalarNode) and self.node.style is None:
            return str(self.node.value)
        return ""

    def _key(self, key: yaml.Node, known: Collection[str] | None) -> str:
        name = str(key.value)
        if not isinstance(key, yaml.ScalarNode):
            raise self._at(key, name).refuse(f"a key of {self.name} must be a text")
        if known is not None and name not in known:
            raise self._at(key, name).refuse(f"unknown key {name} in {self.name}{nearest(name, known)}")
        return name

    def _at(self, node: yaml.Node, name: str) -> Entry:
        return Entry(self.path, name, node.start_mark.line + 1, node)

    def _wrong_kind(self, wanted: str) -> ConfigError:
        return self.refuse(f"{self.name} must be {wanted}, not {_KINDS[type(self.node)]}")


class Entries(dict[str, Entry]):
    """The entries of a mapping, by key; one that is not there reads as nothing."""

    def __init__(self, mapping: Entry, entries: Mapping[str, Entry]) -> None:
        super().__init__(entries)
        self._mapping = mapping

    def __missing__(self, name: str) -> Entry:
        return Entry(self._mapping.path, name, self._mapping.line)


def read_yaml(path: str, content: bytes, *, secret: bool = False) -> Entry:
    """The whole file, in UTF-8, or UTF-16 with its mark. Raises ConfigError with file, line and reason.

    ``secret``: what looks like an alias or a tag may be a password without quotes, which the reason must not name.
    """
    here = Entry(path, "the file")
    try:
        text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise replace(here, line=line).refuse("the file is not UTF-8; save it as UTF-8") from None
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise replace(here, line=line).refuse(
            "the file has a character that YAML does not allow; remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        if secret:
            reason = _NAME_OF.sub(r"\1", reason)
        raise replace(here, line=mark.line + 1 if mark else 1).refuse(
            f"the file is not valid YAML: {reason}"
        ) from None
    except RecursionError:
        raise here.refuse("the file is nested too deeply") from None
    return replace(here, line=node.start_mark.line + 1, node=node) if node is not None else here


class _Loader(yaml.SafeLoader):
    """Refuses tags that Go does not know either."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        node = super().compose_node(parent, index)
        if node is not None and (node.tag.startswith("!") or node.tag == f"{_TAG}binary"):
            raise yaml.MarkedYAMLError(problem=f"unknown tag {node.tag}", problem_mark=node.start_mark)
        return node


def nearest(name: str, known: Collection[str]) -> str:
    """What to write instead of a name that is not known, to be appended to the error."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6) or [
        each for each in names if each.lower() == name.lower()
    ]
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"
