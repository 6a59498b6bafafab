"""What is asked of a disk by itself: a real vmd, real QEMU, guests in a boot sector."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.house import KEY, Vmd, at_console


def define(vmd: Vmd, *names: str, more: str = "") -> None:
    """Define guests whose disk is a clone of the tiny one, in their own directories."""
    image = f"image: {{path: {vmd.tiny_disk}, format: raw}}, ssh_keys: [{KEY}], network: []"
    lines = [f"  {name}: {{memory: 16M, {image}{more}}}" for name in names]
    vmd.define("\n".join(["guests:", *lines, ""]))


def up(vmd: Vmd, *names: str) -> None:
    done = vmd.ctl("up", *names, "--wait", "kernel")
    assert done.code == 0, done.err


def well(vmd: Vmd, *words: str) -> str:
    done = vmd.ctl(*words)
    assert done.code == 0, done.err
    return done.out


def refused(vmd: Vmd, *words: str) -> str:
    done = vmd.ctl(*words)
    assert done.code in (1, 2), (done.out, done.err)
    return done.err


def typed(vmd: Vmd, key: str, answer: bytes, name: str = "alice") -> None:
    with at_console(vmd, name) as console:
        console.type(key)
        console.expect(answer)
        assert console.leave() == 0


def second_sector(path: Path) -> bytes:
    """The first bytes of what the guest writes on ``w``."""
    argv = ("qemu-io", "-r", "-f", "qcow2", "-c", "read -v 512 4", str(path))
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return bytes.fromhex("".join(out.split("00000200:")[1].split()[:4]))


@pytest.fixture
def cloned(vmd: Vmd) -> Vmd:
    """A running vmd and a running alice, whose disk is in her own directory."""
    define(vmd, "alice")
    up(vmd, "alice")
    return vmd


def test_a_snapshot_of_a_running_guest_has_its_memory(cloned: Vmd) -> None:
    well(cloned, "snapshot", "alice", "hears")
    typed(cloned, "d", b"tiny: deaf")
    well(cloned, "restore", "alice", "hears")
    (found,) = json.loads(well(cloned, "snapshots", "alice", "--json"))["snapshots"]
    assert found["tag"] == "hears"
    assert found["memory"] > 0
    well(cloned, "down", "alice")
    assert cloned.heard("ladder")["rung"] == "power"
    assert len(second_sector(cloned.guest() / "disk.qcow2")) == 4


def test_a_snapshot_of_a_guest_that_is_down(cloned: Vmd) -> None:
    well(cloned, "down", "alice")
    disk = cloned.guest() / "disk.qcow2"
    well(cloned, "snapshot", "alice", "clean")
    up(cloned, "alice")
    assert "holds its disk alone" in refused(cloned, "restore", "alice", "clean")
    typed(cloned, "w", b"tiny: written")
    well(cloned, "down", "alice")
    assert second_sector(disk) != bytes(4)
    well(cloned, "restore", "alice", "clean")
    assert second_sector(disk) == bytes(4)
    assert "has a snapshot clean already" in refused(cloned, "snapshot", "alice", "clean")
    well(cloned, "snapshot", "alice", "clean", "--delete")
    assert "has no snapshot clean" in refused(cloned, "restore", "alice", "clean")
    assert well(cloned, "snapshots", "alice") == ""


def test_what_is_no_tag(cloned: Vmd) -> None:
    for tag in ("12", "-x", "a/b", "a b", "é"):
        assert "is no tag" in refused(cloned, "snapshot", "alice", "--", tag)


def test_what_no_snapshot_can_be(alice: Vmd) -> None:
    assert "of format raw can hold no snapshot" in refused(alice, "snapshot", "alice")
    assert "is no tag" in refused(alice, "snapshot", "alice", "12") or "raw" in refused(
        alice, "snapshot", "alice", "12"
    )
    assert alice.ctl("snapshot", "bob").code == 3


def test_backups_of_a_running_guest_and_the_way_back(cloned: Vmd, place: Path) -> None:
    kept, disk = place / "kept", cloned.guest() / "disk.qcow2"
    kept.mkdir(mode=0o700)  # QEMU's user can't even look into it
    well(cloned, "backup", "alice", str(kept))
    typed(cloned, "w", b"tiny: written")
    said = cloned.ctl("backup", "alice", str(kept)).err
    assert "what changed since alice.0001.qcow2" in said
    well(cloned, "backup", "alice", str(kept), "--verify")
    assert "runs on its disk" in refused(cloned, "restore", "alice", "--from", str(kept))
    well(cloned, "down", "alice")
    assert "what changed since alice.0002.qcow2" in cloned.ctl("backup", "alice", str(kept)).err
    written = second_sector(disk)
    assert written != bytes(4)
    well(cloned, "restore", "alice", "--from", str(kept), "--at", "1")
    assert second_sector(disk) == bytes(4)
    well(cloned, "restore", "alice", "--from", str(kept))
    assert second_sector(disk) == written
    assert [each["what"] for each in json.loads(well(cloned, "trash", "--json"))["trash"]] == ["disk", "disk"]
    up(cloned, "alice")
    assert "all of it" in cloned.ctl("backup", "alice", str(kept)).err  # another disk: no bitmap counts for it


def test_a_backup_after_a_restored_snapshot_is_whole(cloned: Vmd, place: Path) -> None:
    kept = place / "kept"
    kept.mkdir()
    well(cloned, "snapshot", "alice", "one")
    well(cloned, "backup", "alice", str(kept))
    well(cloned, "restore", "alice", "one")
    assert "all of it" in cloned.ctl("backup", "alice", str(kept)).err
    well(cloned, "backup", "alice", str(kept), "--verify")


def test_a_damaged_backup_replaces_nothing(cloned: Vmd, place: Path) -> None:
    kept, disk = place / "kept", cloned.guest() / "disk.qcow2"
    kept.mkdir()
    well(cloned, "backup", "alice", str(kept))
    well(cloned, "down", "alice")
    before = disk.read_bytes()
    with (kept / "alice.0001.qcow2").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    assert "is not what it was" in refused(cloned, "backup", "alice", str(kept), "--verify")
    assert "is not what it was" in refused(cloned, "restore", "alice", "--from", str(kept))
    assert disk.read_bytes() == before
    assert "there is no backup of alice" in refused(cloned, "restore", "alice", "--from", str(place))
    assert "is no directory" in refused(cloned, "backup", "alice", str(place / "nowhere"))


def test_a_raw_disk_is_backed_up_whole_each_time(alice: Vmd, place: Path) -> None:
    (place / "kept").mkdir()
    for _ in range(2):
        assert "all of it" in alice.ctl("backup", "alice", str(place / "kept")).err
    well(alice, "down", "alice")
    own = place / "alice.raw"
    before = own.read_bytes()
    own.write_bytes(bytes(len(before)))
    well(alice, "restore", "alice", "--from", str(place / "kept"))
    assert own.read_bytes() == before
    up(alice, "alice")


def test_a_clone_is_a_guest_of_its_own(cloned: Vmd) -> None:
    define(cloned, "alice", "bob")
    assert "runs on its disk" in refused(cloned, "clone", "alice", "bob")
    well(cloned, "down", "alice")
    well(cloned, "clone", "alice", "bob")
    assert "has a disk already" in refused(cloned, "clone", "alice", "bob")
    up(cloned, "alice", "bob")
    one, other = (json.loads(well(cloned, "argv", name, "--json")) for name in ("alice", "bob"))
    assert one[one.index("-uuid") + 1] != other[other.index("-uuid") + 1]


def test_a_linked_clone_and_its_base(cloned: Vmd) -> None:
    define(cloned, "alice", "bob")
    typed(cloned, "w", b"tiny: written")
    well(cloned, "down", "alice")
    well(cloned, "clone", "alice", "bob", "--linked")
    (base,) = (cloned.state / "bases").iterdir()
    up(cloned, "alice", "bob")
    well(cloned, "down", "--all")
    for name in ("alice", "bob"):
        assert second_sector(cloned.guest(name) / "disk.qcow2") != bytes(4)
    well(cloned, "rm", "alice")
    well(cloned, "trash", "empty")
    assert base.exists()  # bob stands on it
    up(cloned, "bob")
    well(cloned, "down", "bob")
    well(cloned, "rm", "bob")
    well(cloned, "trash", "empty")
    assert not base.exists()


def add_clone(vmd: Vmd, image: Path) -> None:
    """Define bob besides, as a clone of this image."""
    keys = f"memory: 16M, image: {image}, ssh_keys: [{KEY}], network: []"
    vmd.define((vmd.fleet / "fleet.yaml").read_text() + f"  bob: {{{keys}}}\n")


def test_what_another_disk_stands_on_is_not_removed(cloned: Vmd) -> None:
    well(cloned, "down", "alice")
    golden = cloned.guest() / "golden.qcow2"
    argv = ("qemu-img", "convert", "-O", "qcow2", cloned.guest() / "disk.qcow2", golden)
    subprocess.run(argv, check=True)
    golden.chmod(0o644)
    add_clone(cloned, golden)
    up(cloned, "bob")
    well(cloned, "down", "bob")
    assert "the disks of bob stand on files in" in refused(cloned, "rm", "alice")
    assert golden.exists()
    golden.rename(golden.with_suffix(".away"))
    assert f"stands on {golden}, which is gone" in refused(cloned, "up", "bob")
    golden.write_bytes(golden.with_suffix(".away").read_bytes())
    golden.chmod(0o644)
    assert f"its image {golden} has changed" in refused(cloned, "up", "bob")


def test_an_image_brings_in_no_other_file(cloned: Vmd, place: Path) -> None:
    well(cloned, "down", "alice")
    secret, image = cloned.guest() / "disk.qcow2", place / "images" / "nice.qcow2"
    image.parent.mkdir()
    argv = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "qcow2", image)
    subprocess.run(argv, check=True)
    image.chmod(0o644)
    add_clone(cloned, image)
    assert f"it stands on {secret}, which is not below" in refused(cloned, "up", "bob")
    data = ("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={place}/data,data_file_raw=on", image, "1M")
    subprocess.run(data, check=True)
    image.chmod(0o644)
    assert "keeps its data in another file" in refused(cloned, "up", "bob")
    assert not cloned.guest("bob").joinpath("disk.qcow2").exists()


def test_a_raw_disk_with_a_qcow2_header_stays_raw(alice: Vmd, place: Path) -> None:
    well(alice, "down", "alice")
    own = place / "alice.raw"
    with own.open("r+b") as file:
        file.write(b"QFI\xfb\0\0\0\3")  # as a guest might
    done = alice.ctl("up", "alice", "--wait", "process")
    assert done.code == 0, done.err
    well(alice, "down", "alice", "--timeout", "1s")
    text = (alice.fleet / "fleet.yaml").read_text()
    alice.define(text.replace("format: raw", "format: qcow2"))
    assert "is of format raw, and its definition says qcow2" in refused(alice, "up", "alice")


def test_a_qcow2_is_never_shown_to_a_guest_as_raw(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    own = vmd.root / "alice.raw"
    argv = ("qemu-img", "create", "-q", "-f", "qcow2", own, "1M")
    subprocess.run(argv, check=True)
    assert "is a qcow2 image, and its definition says raw" in refused(vmd, "up", "alice")


def test_a_disk_that_somebody_has_open_is_left_to_them(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    own = vmd.root / "alice.raw"
    argv = ("tail", "-f", str(own))
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.read(1)  # it has it open
        assert f"held by process {other.pid} (tail)" in refused(vmd, "up", "alice")
        other.kill()
    up(vmd, "alice")


def test_the_trash_gives_back_what_it_got(cloned: Vmd) -> None:
    typed(cloned, "w", b"tiny: written")
    well(cloned, "down", "alice")
    well(cloned, "rm", "alice")
    assert cloned.status()["state"] == "absent"
    (entry,) = json.loads(well(cloned, "trash", "--json"))["trash"]
    assert (entry["guest"], entry["what"], entry["by"]) == ("alice", "guest", "root")
    assert entry["bytes"] > 0
    well(cloned, "trash", "empty", "--older", "1h")
    well(cloned, "trash", "restore", "alice")
    assert second_sector(cloned.guest() / "disk.qcow2") != bytes(4)
    up(cloned, "alice")
    assert "there is no alice in the trash" in refused(cloned, "trash", "restore", "alice")


def test_the_trash_is_emptied(cloned: Vmd) -> None:
    well(cloned, "down", "alice")
    well(cloned, "rm", "alice")
    well(cloned, "trash", "empty")
    assert json.loads(well(cloned, "trash", "--json"))["trash"] == []
    assert list((cloned.state / "trash").iterdir()) == []


def test_a_disk_elsewhere_is_left_where_it_is(alice: Vmd, place: Path) -> None:
    well(alice, "down", "alice")
    well(alice, "rm", "alice")
    well(alice, "trash", "empty")
    assert (place / "alice.raw").exists()


def test_a_guest_with_a_directory_is_not_put_back_over_it(cloned: Vmd) -> None:
    well(cloned, "down", "alice")
    well(cloned, "rm", "alice")
    up(cloned, "alice")
    assert "has a directory again" in refused(cloned, "trash", "restore", "alice")


def test_what_vmd_did_not_make_it_does_not_touch(vmd: Vmd) -> None:
    define(vmd, "alice", "bob", "carol")
    vmd.guest("alice").mkdir(parents=True)
    (vmd.guest("alice") / "precious").write_text("mine")
    vmd.guest("bob").mkdir()
    other: dict[str, Any] = {"fleet_id": "another", "name": "bob"}
    (vmd.guest("bob") / "vmd.json").write_text(json.dumps(other))
    vmd.guest("carol").mkdir()  # empty: of a vmd that was killed before it could mark it
    assert "was not made by vmd" in refused(vmd, "up", "alice")
    assert "belongs to another fleet" in refused(vmd, "up", "bob")
    assert "was not made by vmd" in refused(vmd, "rm", "alice")
    up(vmd, "carol")
    assert [path.name for path in vmd.guest("alice").iterdir()] == ["precious"]
