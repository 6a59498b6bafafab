"""(guest, observed) → steps, in tables; and that a plan that was interrupted is taken up where it ended."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from vmd.plan.cmdline import Place
from vmd.plan.observed import DiskFacts
from vmd.plan.reconcile import up
from vmd.plan.step import (
    AcceptDisk,
    BuildIso,
    DiscardHalfMade,
    GrowDisk,
    MakeDisk,
    MakeVariables,
    RunInstaller,
    SetLink,
    Start,
    Up,
    WriteSeed,
)

from .conftest import BOOT, DIR, DISK, IMAGE, KEY, Case, G, guest, host, mine, names, observe, place, plan

INSTALL = "write-seed make-disk run-installer accept-disk start"


UPS = {
    "fresh": Case({"disk": "40G"}, INSTALL),
    "fresh, no ISO yet": Case({"disk": "40G"}, f"build-iso {INSTALL}", host={"built": frozenset()}),
    "fresh, an ISO of its own": Case({"disk": "40G", "install": "mine"}, INSTALL, host={"built": frozenset()}),
    "fresh, UEFI": Case({"disk": "40G", "firmware": "uefi"}, f"make-variables {INSTALL}"),
    "UEFI, with variables": Case({"disk": "40G", "firmware": "uefi"}, INSTALL, {"variables": True}),
    "half-made": Case({"disk": "40G"}, f"discard-half-made {INSTALL}", {"half_made": True}),
    "half-made, no ISO any more": Case(
        {"disk": "40G"}, f"build-iso discard-half-made {INSTALL}", {"half_made": True}, {"built": frozenset()}
    ),
    "installing": Case(
        {"disk": "40G"},
        "run-installer accept-disk start",
        {"half_made": True, "installing": True, "run_state": "running"},
    ),
    "installing, its QEMU ended": Case(
        {"disk": "40G"}, "run-installer accept-disk start", {"half_made": True, "installing": True}
    ),
    "installed": Case({"disk": "40G"}, "start", {"disk": DISK}),
    "installed, keys and ISO gone": Case(
        {"disk": "40G"}, "start", {"disk": DISK, "keys": ()}, {"built": frozenset()}
    ),
    "installed, UEFI variables gone": Case(
        {"disk": "40G", "firmware": "uefi"}, "make-variables start", {"disk": DISK}
    ),
    "larger than the disk there": Case({"disk": "50G"}, "grow-disk start", {"disk": DISK}),
    "a disk of one's own": Case({"disk": {"path": "d.raw", "format": "raw"}}, "start", {"disk": DISK}),
    "image": Case({"image": "base.qcow2"}, "make-disk write-seed start"),
    "image, larger": Case({"image": "base.qcow2", "disk": "40G"}, "make-disk write-seed start"),
    "image, cloned": Case({"image": "base.qcow2"}, "write-seed start", {"disk": DISK}),
    "image, UEFI": Case({"image": "base.qcow2", "firmware": "uefi"}, "make-variables make-disk write-seed start"),
    "kernel": Case({"boot": BOOT}, "start"),
    "kernel, with an empty disk": Case({"boot": BOOT, "disk": "1G"}, "make-disk start"),
    "kernel, with its disk": Case({"boot": BOOT, "disk": "40G"}, "start", {"disk": DISK}),
    "malta": Case({"boot": BOOT, "machine": "malta"}, "start"),
    "running": Case({"disk": "40G"}, "", {"disk": DISK, "run_state": "running"}),
    "paused": Case({"disk": "40G"}, "", {"disk": DISK, "run_state": "paused"}),
    "running, whatever else is amiss": Case(
        {"disk": "1G", "accel": "kvm"}, "", {"disk": DISK, "run_state": "running", "keys": ()}
    ),
}


@pytest.mark.parametrize("case", UPS.values(), ids=UPS)
def test_the_steps_up(case: Case) -> None:
    alice = guest(**case.written)
    assert names(plan(alice, case.place(alice))) == case.steps


def after(step: Up, where: Place) -> Place:
    """What is observed once a step is done."""
    found: dict[str, Any] = {}
    match step:
        case BuildIso():
            return where._replace(host=dataclasses.replace(where.host, built=where.host.built | {step.path}))
        case MakeVariables():
            found = {"variables": True}
        case MakeDisk() if step.path == where.layout.disk_tmp:
            found = {"half_made": True}
        case MakeDisk() | GrowDisk():
            found = {"disk": DiskFacts(step.format, step.size)}
        case DiscardHalfMade():
            found = {"half_made": False}
        case AcceptDisk():
            found = {"disk": DISK, "half_made": False, "installing": False, "run_state": None}
        case Start():
            found = {"run_state": "running"}
    return observe(where, **found)


@pytest.mark.parametrize("case", UPS.values(), ids=UPS)
def test_a_plan_that_was_interrupted_is_taken_up_again(case: Case) -> None:
    """After any step the next plan ends with the steps that were left, and repeats only what is done afresh."""
    alice = guest(**case.written)
    where = case.place(alice)
    whole = plan(alice, where)
    for done, step in enumerate(whole, start=1):
        where = after(step, where)
        again, rest = plan(alice, where), whole[done:]
        assert again[len(again) - len(rest) :] == rest, f"after {step.text}"
        repeated = set(names(again[: len(again) - len(rest)]).split())
        assert repeated <= {"write-seed", "discard-half-made", "make-disk", "run-installer"}, f"after {step.text}"
        assert not repeated or "start" in names(rest)
    assert plan(alice, where) == ()


@pytest.mark.parametrize("case", UPS.values(), ids=UPS)
def test_whatever_was_done_a_second_plan_leads_to_a_running_guest(case: Case) -> None:
    alice = guest(**case.written)
    where = case.place(alice)
    for step in plan(alice, where):
        where = after(step, where)
        reached = where
        for again in plan(alice, reached):
            reached = after(again, reached)
        assert plan(alice, reached) == ()


def test_an_install_that_is_under_way_is_taken_over_as_it_is() -> None:
    """Neither its disk nor its seed is touched, and its line is that of a fresh one."""
    alice = guest(disk="40G")
    fresh = plan(alice, place(alice))
    taken_over = plan(alice, place(alice, installing=True, half_made=True, run_state="running"))
    assert taken_over == fresh[2:]


def test_what_a_fresh_install_is_made_of() -> None:
    alice = guest(disk="40G", hostname="web", user="dan")
    build, seed, make, run, accept, start = plan(
        alice, place(alice, on=dataclasses.replace(host(), built=frozenset()))
    )
    iso = "/var/lib/vmd/iso/debian-12.iso"
    assert build == BuildIso("debian-12", iso)
    assert isinstance(seed, WriteSeed)
    files = (("ssh.pub", f"{KEY}\n".encode()), ("hostname", b"web\n"), ("user", b"dan\n"))
    assert (seed.directory, seed.files, seed.image, seed.label) == (f"{DIR}/seed", files, None, "CIDATA")
    assert make == MakeDisk(f"{DIR}/disk.qcow2.tmp", 40 * G)
    assert isinstance(run, RunInstaller)
    assert (run.installer, run.binary, run.success) == ("debian-12", "qemu-system-x86_64", "INSTALL_SUCCESSFUL")
    assert accept == AcceptDisk(f"{DIR}/disk.qcow2.tmp", f"{DIR}/disk.qcow2")
    assert isinstance(start, Start)
    assert start.binary == "qemu-system-x86_64"


def test_where_qemu_has_no_vvfat_the_seed_becomes_an_image() -> None:
    for alice in (guest(disk="40G"), guest(image="base.qcow2")):
        made = plan(alice, place(alice, on=host(vvfat=False), image=IMAGE))
        assert [step.image for step in made if isinstance(step, WriteSeed)] == [f"{DIR}/seed.img"]


@pytest.mark.parametrize(
    ("accel", "found", "scaled"),
    [("auto", "tcg", True), ("auto", "kvm", False), ("tcg", "kvm", True), ("kvm", "kvm", False)],
)
def test_an_install_has_more_time_where_it_is_emulated(accel: str, found: str, scaled: bool) -> None:
    alice = guest(disk="40G", accel=accel, install="mine")
    installer = mine(success="DONE", timeout="10m", silence="1m")
    steps = up(alice, installer, place(alice, on=host(accel=found, tcg_scale=3.0)))
    (run,) = (step for step in steps if isinstance(step, RunInstaller))
    assert (run.success, run.timeout, run.silence) == ("DONE", *((1800.0, 180.0) if scaled else (600.0, 60.0)))


@pytest.mark.parametrize(("size", "made"), [({}, 2 * G), ({"disk": "2G"}, 2 * G), ({"disk": "3G"}, 3 * G)])
def test_a_clone_is_as_large_as_its_image_or_larger(size: dict[str, str], made: int) -> None:
    alice = guest(image={"path": "base.img", "format": "raw"}, **size)
    first = plan(alice, place(alice, image=DiskFacts("raw", 2 * G)))[0]
    assert first == MakeDisk(f"{DIR}/disk.qcow2", made, "qcow2", "/srv/base.img", "raw")


def test_a_cable_that_is_to_be_out_is_pulled_as_it_starts() -> None:
    alice = guest(boot=BOOT, network=["user", {"network": "user", "link": "down"}])
    assert plan(alice, place(alice))[1:] == (SetLink("net1", False),)


def test_a_raw_disk_is_made_raw() -> None:
    alice = guest(boot=BOOT, disk={"size": "1G", "path": "d.raw", "format": "raw"})
    assert plan(alice, place(alice))[0] == MakeDisk("/srv/d.raw", G, "raw")


def test_user_data_of_ones_own_needs_no_keys() -> None:
    alice = guest(image="base.qcow2", user_data="mine.yaml")
    made = plan(alice, place(alice, image=IMAGE, keys=(), files={"/srv/mine.yaml": b""}))
    assert [dict(step.files)["user-data"] for step in made if isinstance(step, WriteSeed)] == [b""]
