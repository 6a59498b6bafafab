"""What is done to a disk by itself: which steps, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from vmd.errors import Refused, UsageError
from vmd.plan import step as steps
from vmd.plan.step import AcceptDisk, MakeDisk
from vmd.plan.upkeep import (
    BackUp,
    CopyDisk,
    DeleteSnapshot,
    DiskState,
    ReplaceDisk,
    RestoreSnapshot,
    ShareDisk,
    TakeSnapshot,
    VerifyBackup,
    clone,
    delete,
    linked_clone,
    restore,
    restore_backup,
    take,
)

PATH = "/var/lib/vmd/guests/alice/disk.qcow2"


def disk(**facts: Any) -> DiskState:
    return DiskState(**{"guest": "alice", "path": PATH, "format": "qcow2", "live": False, **facts})


@pytest.mark.parametrize("live", [True, False])
def test_snapshots(live: bool) -> None:
    held = disk(live=live, snapshots={"one": 1000})
    assert take(held, "two") == (TakeSnapshot(PATH, "two", live),)
    assert restore(held, "one") == (RestoreSnapshot(PATH, "one", live),)
    assert delete(held, "one") == (DeleteSnapshot(PATH, "one", live),)


def test_what_is_not_there_can_be_neither_restored_nor_deleted() -> None:
    for what in (restore, delete):
        with pytest.raises(Refused, match="has no snapshot two") as refused:
            what(disk(snapshots={"one": 0}), "two")
        assert refused.value.hint == "it has one"


def test_a_snapshot_is_not_taken_twice() -> None:
    with pytest.raises(Refused, match="has a snapshot one already"):
        take(disk(snapshots={"one": 0}), "one")


def test_memory_that_is_not_in_it_is_not_made_up() -> None:
    held = {"one": 0}
    assert restore(disk(snapshots=held), "one")
    with pytest.raises(Refused, match="holds its disk alone"):
        restore(disk(snapshots=held, live=True), "one")


def test_a_raw_disk_holds_no_snapshot() -> None:
    for what in (take, restore, delete):
        with pytest.raises(Refused, match="of format raw can hold no snapshot"):
            what(disk(format="raw"), "one")
    with pytest.raises(Refused, match="of format raw"):
        linked_clone(disk(format="raw"), 1, "/b", "/b.tmp", "/base")


@pytest.mark.parametrize("tag", ["a", "1a", "2026-01-01", "20260101T000000", "a" * 63, "v1.2_3"])
def test_what_is_a_tag(tag: str) -> None:
    assert take(disk(), tag)


@pytest.mark.parametrize("tag", ["", "1", "123", "-a", ".a", "a b", "a/b", "a,b", "é", "a\n", "a" * 64, "one\0"])
def test_what_is_no_tag(tag: str) -> None:
    with pytest.raises(UsageError, match="is no tag"):
        take(disk(), tag)


def test_the_way_back_to_a_backup() -> None:
    plan = restore_backup(disk(format="raw"), "/kept", 3, "/kept/alice.0003.qcow2", f"{PATH}.tmp")
    copied = CopyDisk("/kept/alice.0003.qcow2", "qcow2", f"{PATH}.tmp", "raw")
    assert plan == (VerifyBackup("/kept", 3), copied, ReplaceDisk(f"{PATH}.tmp", PATH))
    with pytest.raises(Refused, match="runs on its disk"):
        restore_backup(disk(live=True), "/kept", 3, "", "")


def test_clones() -> None:
    assert clone(disk(), "/b", "/b.tmp", "raw") == (
        CopyDisk(PATH, "qcow2", "/b.tmp", "raw"),
        AcceptDisk("/b.tmp", "/b"),
    )
    assert linked_clone(disk(), 7, "/b", "/b.tmp", "/base") == (
        ShareDisk(PATH, "/base"),
        MakeDisk("/b.tmp", 7, "qcow2", "/base", "qcow2"),
        AcceptDisk("/b.tmp", "/b"),
    )


def test_what_is_not_cloned() -> None:
    with pytest.raises(Refused, match="must stand still"):
        clone(disk(live=True), "/b", "/b.tmp", "raw")
    with pytest.raises(Refused, match="must stand still"):
        linked_clone(disk(live=True), 1, "/b", "/b.tmp", "/base")
    with pytest.raises(Refused, match=r"has snapshots \(one\)"):
        linked_clone(disk(snapshots={"one": 0}), 1, "/b", "/b.tmp", "/base")


def test_each_step_says_what_it_does() -> None:
    said = {
        steps.name(step): step.text
        for step in (
            TakeSnapshot(PATH, "one", True),
            RestoreSnapshot(PATH, "one", False),
            DeleteSnapshot(PATH, "one", False),
            BackUp(PATH, "qcow2", "/kept", True),
            VerifyBackup("/kept", 3),
            CopyDisk(PATH, "qcow2", "/b.tmp", "qcow2"),
            ReplaceDisk("/b.tmp", "/b"),
            ShareDisk(PATH, "/bases/alice-1.qcow2"),
        )
    }
    assert said == {
        "take-snapshot": "take snapshot one, with its memory",
        "restore-snapshot": "go back to snapshot one",
        "delete-snapshot": "delete snapshot one",
        "back-up": "back up disk.qcow2 to /kept",
        "verify-backup": "verify backup 3 in /kept",
        "copy-disk": f"copy {PATH}",
        "replace-disk": "replace b; the old one goes to the trash",
        "share-disk": "share disk.qcow2 as alice-1.qcow2",
    }
