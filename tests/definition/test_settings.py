"""What may be written about the daemon itself."""

from __future__ import annotations

import pytest

from vmd.definition.document import Source
from vmd.definition.settings import Access, Grant, Settings, parse_settings


def parsed(text: str) -> tuple[Settings, list[str]]:
    settings, faults = parse_settings(Source("vmd.yaml", text.encode()))
    return settings, [str(fault) for fault in faults]


def test_rights_as_they_are_written() -> None:
    settings, faults = parsed("access:\n  read: {groups: [monitoring]}\n  write: {users: [dan], groups: [vmd]}\n")
    assert faults == []
    assert settings.access == Access(read=Grant(groups=("monitoring",)), write=Grant(users=("dan",), groups=("vmd",)))


@pytest.mark.parametrize("text", ["", "# nothing\n", "access:\n", "{}"])
def test_where_nothing_is_written_nothing_is_said_about_rights(text: str) -> None:
    assert parsed(text) == (Settings(), [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("access: {reed: {}}", "vmd.yaml:1:10: access.reed: "),
        ("access: {read: {users: dan}}", "vmd.yaml:1:17: access.read.users: "),
        ("access: {read: {users: [1]}}", "vmd.yaml:1:25: access.read.users[0]: "),
        ("access: {read: {groups: ['a b']}}", "vmd.yaml:1:26: access.read.groups[0]: "),
        ("guests: {}", "vmd.yaml:1:1: guests: "),
        ("access: [", "vmd.yaml:"),
        ("access: !!python/object x", "vmd.yaml:1:"),
        ("- access", "vmd.yaml:1:1: "),
    ],
)
def test_a_fault_grants_nobody_anything(text: str, fault: str) -> None:
    settings, faults = parsed(text)
    assert settings == Settings(access=Access())
    assert faults
    assert faults[0].startswith(fault), faults
