"""YAML texts → a fleet. Every fault is found at once, and one broken guest never harms another."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pydantic import ValidationError

from ..errors import DefinitionError
from .document import Document, Source, read
from .explain import NAME_IS_KEY, explain, nearest_word, unknown
from .fault import Fault, Key, Position, nearest
from .fleet import Fleet, Installer, Start, between
from .guest import Guest
from .machine import INSTALLERS
from .network import USER, Network
from .written import Text, Written, Wrong

__all__ = ["Fault", "Parsed", "Position", "Source", "parse", "strict"]

KINDS: dict[str, type[Written]] = {"guests": Guest, "installers": Installer, "networks": Network}
"""The keys at the top of a definition that hold things by name, and what each holds."""

EXAMPLES = {"guests": "{memory: 1G, disk: 40G}", "installers": "{iso: installer.iso}", "networks": "{bridge: br0}"}
"""What a thing of each kind looks like."""

BUILT_IN: dict[str, tuple[str, ...]] = {"installers": INSTALLERS, "networks": (USER,)}
"""Names that vmd has given away itself."""

RULES: dict[str, type[Written]] = {"start": Start}
"""The keys at the top that hold one thing."""

# what a guest is judged by doesn't follow from these, so a second look is fair without them
_ASIDE = {"memory", "cpus", "cpu", "vnc", "accel", "hostname", "user", "stop_timeout"}

# keys that can be at fault where they are silent; any other silent key follows from one that is
_OWN = {"name", "memory", "iso"}


class Parsed(NamedTuple):
    """What was understood, and what was not."""

    fleet: Fleet
    """Everything that is right."""
    faults: tuple[Fault, ...]
    """Everything that is wrong, in the order it stands."""


@dataclass(slots=True)
class _Draft:
    """A fleet in the making."""

    found: dict[str, dict[str, Any]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    rules: dict[str, Any] = field(default_factory=dict)
    where: dict[Key, Position] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def parse(sources: Sequence[Source]) -> Parsed:
    """Read a fleet. A guest at fault is left out; of two that can't be together, the later one."""
    draft = _Draft()
    for source in sources:
        _read_into(draft, read(source))
    found, start = draft.found, draft.rules.get("start", Start())
    fleet = Fleet(found["guests"], found["installers"], found["networks"], start, draft.where)
    late = tuple(between(fleet))
    out = {name for name, _ in late}
    guests = {name: guest for name, guest in fleet.guests.items() if name not in out}
    faults = sorted({*draft.faults, *(fault for _, fault in late)})
    return Parsed(replace(fleet, guests=guests), tuple(faults))


def strict(sources: Sequence[Source]) -> Fleet:
    """Read a fleet in which everything is right.

    :raise DefinitionError: something is not; it carries every fault.
    """
    fleet, faults = parse(sources)
    if faults:
        raise DefinitionError([str(fault) for fault in faults])
    return fleet


def _read_into(draft: _Draft, document: Document) -> None:
    # what is defined twice is told by where it stood first, so places are kept only after the comparison
    for kind, written in document.data.items():
        if kind in RULES:
            _rule(draft, document, kind, written)
        elif kind not in KINDS:
            place = nearest(document.where, (kind,))
            document.fault((kind,), place, "there is no such key", unknown(kind, (*KINDS, *RULES)))
        elif isinstance(written, dict):
            _kind(draft, document, kind, written)
        elif written is not None:
            place = nearest(document.where, (kind,))
            document.fault((kind,), place, "it is no mapping of names", f"write {kind}: {{NAME: {{…}}}}")
    for key, place in document.where.items():
        draft.where.setdefault(key, place)
    draft.faults += [fault for _, fault in document.faults]


def _rule(draft: _Draft, document: Document, kind: str, written: Any) -> None:
    key: Key = (kind,)
    if kind in draft.rules:
        message = f"it stands in {draft.where[key]} already"
        document.fault(key, document.where[key], message, "keep one of them")
    elif written is not None and not isinstance(written, dict):
        document.fault(key, document.where[key], "it is no mapping of keys", f"write {kind}: {{…}}")
    else:
        try:
            draft.rules[kind] = RULES[kind].model_validate(written or {}, context=Text(""))
        except ValidationError as error:
            for wrong in explain(error, RULES[kind]):
                _take_down(document, key, wrong)


def _kind(draft: _Draft, document: Document, kind: str, written: dict[str, Any]) -> None:
    broken = {key[:2] for key, _ in document.faults}
    for name, body in written.items():
        key: Key = (kind, name)
        if name in BUILT_IN.get(kind, ()):
            message, hint = f"{name} is built in", "choose another name"
            document.fault(key, document.where[key], message, hint)
        elif name in draft.found[kind] or key in draft.where:
            message = f"{name} is defined in {draft.where[key]} already"
            document.fault(key, document.where[key], message, "rename or remove one of them")
        else:
            thing = _checked(document, key, body)
            if thing and key not in broken:
                draft.found[kind][name] = thing


def _checked(document: Document, key: Key, body: Any) -> Written | None:
    """The thing of that key, or None after its faults are taken down."""
    model = KINDS[str(key[0])]
    if body is not None and not isinstance(body, dict):
        document.fault(key, document.where[key], "it is no mapping of keys", f"write {EXAMPLES[str(key[0])]}")
        return None
    source = document.source
    text = Text(posixpath.dirname(source.name) if source.directory is None else source.directory)
    thing, wrongs = _judged(model, body or {}, str(key[1]), text)
    for wrong in wrongs:
        _take_down(document, key, wrong)
    return thing


def _judged(
    model: type[Written], body: dict[str, Any], name: str, text: Text
) -> tuple[Written | None, tuple[Wrong, ...]]:
    """The thing, or everything wrong with it: of its keys first, then of what may not stand together."""
    written = {key: value for key, value in body.items() if value is not None}
    twice = (Wrong(("name",), *NAME_IS_KEY),) if "name" in written else ()
    try:
        thing = model.model_validate({**written, "name": name}, context=text)
    except ValidationError as error:
        # without an empty key the rules would find fault with what is not there
        fair = all(_aside(key, model) for key in body if key not in written)
        found = tuple(explain(error, model, rules=fair))
        found = tuple(wrong for wrong in found if not wrong.key or wrong.key[0] in {*written, *_OWN})
        return None, (*twice, *found, *(_second_look(model, written, name, text, found) if fair else ()))
    return (None if twice else thing), twice


def _second_look(
    model: type[Written], written: dict[str, Any], name: str, text: Text, found: tuple[Wrong, ...]
) -> Iterator[Wrong]:
    """The rules are looked at only when every key is right: see about them without the keys that are wrong."""
    wrong = {str(fault.key[0]) for fault in found if fault.key}
    if not wrong or not all(_aside(key, model) for key in wrong):
        return
    rest = {key: value for key, value in written.items() if key not in wrong}
    try:
        model.model_validate({"memory": "512M", **rest, "name": name}, context=text)
    except ValidationError as error:
        yield from explain(error, model)


def _aside(key: str, model: type[Written]) -> bool:
    """Tell whether the rules can be judged without a key, or without the one it was meant for."""
    meant = key if key in model.model_fields else nearest_word(key, model.model_fields)
    return model is Guest and meant in (None, *_ASIDE)


def _take_down(document: Document, key: Key, wrong: Wrong) -> None:
    """A fault's place is that of its key as it was written: ``disk: 40G`` has no key ``size``."""
    written: Key = key
    for part in wrong.key:
        if (*written, part) in document.where:
            written = (*written, part)
    # where the text itself is at fault, what the model makes of it is no news
    if written not in document.unreadable:
        document.fault(written, nearest(document.where, written), wrong.message, wrong.hint)
