"""YAML text → a tree of nodes, each with its place. Hostile text is refused before it costs anything.

PyYAML's parser gives the events, libyaml's where it is there; the tree is built here, without recursion, so that
depth, aliases and size are bounded while it grows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from .fault import Fault

LARGEST_TEXT = 1 << 20
"""The largest definition that is read, in bytes."""

MOST_NODES = 20_000
"""How many values a text may have, counted after aliases are replaced: some two thousand guests."""

DEEPEST = 32
"""How deep values may stand in one another; a definition needs seven."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Mark(NamedTuple):
    """A place in the text; line and column count from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Node:
    """A value as it was written. ``items`` are a list's values, ``pairs`` a mapping's, ``text`` a scalar's."""

    mark: Mark
    tag: str | None = None
    text: str | None = None
    plain: bool = False
    items: list[Node] | None = None
    pairs: list[tuple[Node, Node]] | None = None
    weight: int = 1
    """How many nodes it is, with all in it."""
    height: int = 1
    """How many nodes deep it is."""


class Unreadable(Exception):
    """The text can't be read any further."""

    def __init__(self, mark: Mark, message: str, hint: str) -> None:
        super().__init__(message)
        self.mark, self.message, self.hint = mark, message, hint

    def fault(self, file: str) -> Fault:
        """The same as a fault of a file."""
        return Fault(file, *self.mark, "", self.message, self.hint)


@dataclass(slots=True)
class _Open:
    """A list or mapping that isn't complete yet; ``key`` is a mapping's key that waits for its value."""

    node: Node
    anchor: str | None
    key: Node | None = None


@dataclass(slots=True)
class _Tree:
    """The tree while it grows."""

    root: Node | None = None
    open: list[_Open] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)
    nodes: int = 0


def compose(data: bytes) -> Node | None:
    """The one document of a text; None where there is none.

    :raise Unreadable: it is too large, not UTF-8, not YAML, or hostile.
    """
    tree = _Tree()
    for event in _events(_decode(data)):
        _take(tree, event, Mark(event.start_mark.line + 1, event.start_mark.column + 1))
    return tree.root


def _events(text: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        mark = Mark(place.line + 1, place.column + 1) if place else Mark(1, 1)
        problem = getattr(error, "problem", None) or "it can't be read"
        raise Unreadable(
            mark, f"this is not YAML: {problem}", "see that brackets, quotes and indents match"
        ) from None


def _decode(data: bytes) -> str:
    if len(data) > LARGEST_TEXT:
        message = f"it has {len(data)} bytes, and a definition may have {LARGEST_TEXT}"
        raise Unreadable(Mark(1, 1), message, "split it into several files")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = _mark(data[: error.start].decode("utf-8-sig", "replace"))
        byte = f"byte {error.start} is 0x{data[error.start]:02x}"
        raise Unreadable(mark, f"this is not UTF-8: {byte}", "save it as UTF-8") from None
    if found := _FORBIDDEN.search(text):
        message = f"there is a control character, U+{ord(found[0]):04X}"
        raise Unreadable(_mark(text[: found.start()]), message, "take it out; a definition is plain text")
    return text


def _mark(before: str) -> Mark:
    return Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _take(tree: _Tree, event: Any, mark: Mark) -> None:
    match event:
        case yaml.ScalarEvent():
            plain = event.style in (None, "") and event.tag is None
            _add(tree, Node(mark, event.tag, event.value, plain), event.anchor)
        case yaml.SequenceStartEvent():
            _open(tree, Node(mark, event.tag, items=[]), event.anchor)
        case yaml.MappingStartEvent():
            _open(tree, Node(mark, event.tag, pairs=[]), event.anchor)
        case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
            done = tree.open.pop()
            _add(tree, done.node, done.anchor, made=True)
        case yaml.AliasEvent():
            _add(tree, _aliased(tree, str(event.anchor), mark), None)
        case yaml.DocumentStartEvent() if tree.root is not None:
            raise Unreadable(mark, "a second document starts here", "make it a file of its own")


def _open(tree: _Tree, node: Node, anchor: str | None) -> None:
    tree.nodes += 1
    if anchor:
        tree.anchors[anchor] = None  # an alias to what isn't complete would stand in itself
    tree.open.append(_Open(node, anchor))
    _check_depth(len(tree.open), node.mark)


def _add(tree: _Tree, node: Node, anchor: str | None, made: bool = False) -> None:
    """Put a complete value where it belongs; ``made`` when it was counted as it was opened."""
    tree.nodes += 0 if made else node.weight
    if tree.nodes > MOST_NODES:
        raise Unreadable(node.mark, f"there are more than {MOST_NODES} values", "split it, and use fewer aliases")
    if anchor:
        tree.anchors[anchor] = node
    if not tree.open:
        tree.root = node
        return
    parent = tree.open[-1]
    _put(parent, node)
    parent.node.weight += node.weight
    parent.node.height = max(parent.node.height, node.height + 1)


def _put(parent: _Open, node: Node) -> None:
    if parent.node.items is not None:
        parent.node.items.append(node)
    elif parent.key is None:
        parent.key = node
    elif parent.node.pairs is not None:
        parent.node.pairs.append((parent.key, node))
        parent.key = None


def _aliased(tree: _Tree, anchor: str, mark: Mark) -> Node:
    if anchor not in tree.anchors:
        raise Unreadable(mark, f"there is no anchor &{anchor} above", f"write &{anchor} before the first value")
    node = tree.anchors[anchor]
    if node is None:
        raise Unreadable(mark, f"*{anchor} stands inside what it names", "write the value out")
    _check_depth(len(tree.open) + node.height, mark)
    return node


def _check_depth(depth: int, mark: Mark) -> None:
    if depth > DEEPEST:
        raise Unreadable(mark, f"values stand more than {DEEPEST} deep in one another", "a definition needs seven")
