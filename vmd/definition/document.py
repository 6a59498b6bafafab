"""One text → plain values by YAML 1.2's core schema, and the place of each key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .fault import Fault, Key, Position, dotted
from .node import Node, Unreadable, compose

_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_INT = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")
_GUESTS_KEY = 2  # ("guests", "alice"): what is deeper may not be empty


class Source(NamedTuple):
    """A text to read."""

    name: str
    """The file's name, as messages show it."""
    data: bytes
    """What is in it."""
    directory: str | None = None
    """What relative paths are relative to; the directory of ``name`` where it is None."""


@dataclass(slots=True)
class Document:
    """What one text says."""

    source: Source
    data: dict[str, Any] = field(default_factory=dict)
    where: dict[Key, Position] = field(default_factory=dict)
    faults: list[tuple[Key, Fault]] = field(default_factory=list)
    unreadable: frozenset[Key] = frozenset()
    """The keys that are at fault as text, whatever they mean."""

    def fault(self, key: Key, place: Position, message: str, hint: str) -> None:
        """Take down what is wrong with a key."""
        self.faults.append((key, Fault(*place, dotted(key), message, hint)))


def read(source: Source) -> Document:
    """Read a text; whatever is in it, what can't be used is a fault of the document."""
    document = Document(source)
    try:
        root = compose(source.data)
    except Unreadable as unreadable:
        document.faults.append(((), unreadable.fault(source.name)))
        return document
    value = None if root is None else _value(document, root, ())
    document.unreadable = frozenset(key for key, _ in document.faults)
    if isinstance(value, dict):
        document.data = value
    elif root is not None and value is not None:
        place = Position(source.name, *root.mark)
        document.fault((), place, "a definition is a mapping of keys", "start it with guests:")
    return document


def resolve(text: str) -> object:
    """Read a plain scalar by the core schema of YAML 1.2.2, section 10.3: ``no`` and ``2222:22`` are text."""
    if text in _WORDS or (text.lower() in _WORDS and text in (text.upper(), text.capitalize())):
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    return float(text) if _FLOAT.fullmatch(text) else text


def _value(document: Document, node: Node, key: Key) -> Any:
    place = Position(document.source.name, *node.mark)
    document.where.setdefault(key, place)
    if node.tag not in (_TEXT_TAGS if node.text is not None else _TEXT_TAGS[:1]):
        document.fault(key, place, f"the tag {node.tag!r} has no meaning here", "take it out")
    if node.pairs is not None:
        return _mapping(document, node.pairs, key)
    if node.items is not None:
        return [_value(document, item, (*key, index)) for index, item in enumerate(node.items)]
    value = resolve(node.text or "") if node.plain else node.text
    if value is None and len(key) > _GUESTS_KEY:
        document.fault(key, document.where[key], "it is empty", "give it a value, or take the key out")
    return value


def _mapping(document: Document, pairs: list[tuple[Node, Node]], key: Key) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, node in pairs:
        place = Position(document.source.name, *name.mark)
        if name.text is None:
            document.fault(key, place, "a list or a mapping can't be a key", "write a word")
        elif name.text == "<<" and name.plain:
            document.fault(
                key, place, "YAML 1.2 has no merge key <<", "write the keys out, or use an alias for a value"
            )
        elif name.text in values:
            first = document.where[(*key, name.text)]
            message = f"the key is there twice, first in line {first.line}"
            document.fault((*key, name.text), place, message, "keep one of them")
        else:
            document.where[(*key, name.text)] = place
            values[name.text] = _value(document, node, (*key, name.text))
    return values
