"""A guest's QEMU line as a test wants it: paused at first, with room for snapshots, and a power that can fail."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ..plan.option import Option

VMSTATE = "vmstate"
"""The node that takes a snapshot's memory; the guest doesn't see it."""

WRITABLE = ("disk", "rootfs")
"""The nodes that a guest may write to."""


def of_test(options: Iterable[Option], scratch: str, cut: int = 0) -> Iterator[str]:
    """The words of a line, with ``scratch`` to keep snapshots in; the ``cut``-th write to a disk fails, if any."""
    yield "-S"
    yield from (
        "-blockdev",
        json.dumps(_unflushed({"driver": "qcow2", "node-name": VMSTATE, "file": _file(scratch)})),
    )
    for option in options:
        yield from _changed(option.words, cut)


def writable(options: Iterable[Option]) -> tuple[str, ...]:
    """The nodes whose content is part of a snapshot."""
    nodes = (json.loads(option.words[1]) for option in options if option.words[0] == "-blockdev")
    return tuple(node["node-name"] for node in nodes if _is_writable(node))


def _changed(words: tuple[str, ...], cut: int) -> tuple[str, ...]:
    if words[0] == "-blockdev" and _is_writable(node := json.loads(words[1])):
        if cut:
            node["file"] = failing(node["file"], cut)
        return ("-blockdev", json.dumps(_unflushed(node)))
    if words[0] == "-device" and ",drive=rootfs," in words[1] and "werror" not in words[1]:
        return ("-device", words[1] + ",werror=stop,rerror=report")
    return words


def _is_writable(node: dict[str, Any]) -> bool:
    return node.get("node-name") in WRITABLE and not node.get("read-only")


def _unflushed(node: dict[str, Any]) -> dict[str, Any]:
    """The host's disk is spared: what a test writes need not outlive the host. A killed QEMU loses nothing by it."""
    cache = {"cache": {"no-flush": True}}
    return {**node, **cache, "file": {**node["file"], **cache}}


def failing(file: dict[str, Any], nth: int) -> dict[str, Any]:
    """A file that takes no more from the nth write of the guest on: blkdebug (QEMU 7.2 to 10.0).

    Each ``write_aio``, which an image format says before it writes what the guest gave it, is one state further.
    """
    count = [{"event": "write_aio", "state": state, "new_state": state + 1} for state in range(1, nth)]
    fail = {"event": "write_aio", "state": nth, "errno": 5, "once": False}
    counting = {"set-state": count} if count else {}  # an empty list is no list to it
    return {"driver": "blkdebug", "image": file, **counting, "inject-error": [fail]}


def _file(path: str) -> dict[str, Any]:
    return {"driver": "file", "filename": path}
