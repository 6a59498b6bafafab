"""What can't be done is refused before anything is touched, by guest and key."""

from __future__ import annotations

from typing import Any

import pytest

from vmd.errors import Refused, VmdError

from .conftest import BOOT, DIR, DISK, Case, G, guest, host, plan


def unreadable(path: str) -> dict[str, Any]:
    return {"unreadable": {path: f"{path} is not there"}}


REFUSALS: dict[str, tuple[Case, type[VmdError]]] = {
    "ssh_keys: there is no public key": (Case({"disk": "1G"}, "", {"keys": ()}), VmdError),
    "ssh_keys: there is no public key that could": (Case({"image": "b"}, "", {"keys": ()}), VmdError),
    "ssh_keys: /srv/k.pub is not": (
        Case({"disk": "1G", "ssh_keys": ["k.pub"]}, "", unreadable("/srv/k.pub")),
        VmdError,
    ),
    "boot.kernel: /srv/vmlinux is not": (Case({"boot": BOOT}, "", unreadable("/srv/vmlinux")), VmdError),
    "boot.initrd: /srv/initrd is not": (Case({"boot": BOOT}, "", unreadable("/srv/initrd")), VmdError),
    "boot.rootfs: /srv/root.squashfs is not": (Case({"boot": BOOT}, "", unreadable("/srv/root.squashfs")), VmdError),
    "install: /srv/mine.iso is not": (
        Case({"disk": "1G", "install": "mine"}, "", unreadable("/srv/mine.iso")),
        VmdError,
    ),
    "image: /srv/b is not there": (Case({"image": "b"}, "", {"image": None}), VmdError),
    "image: /srv/b is not": (Case({"image": "b"}, "", {"image": None, **unreadable("/srv/b")}), VmdError),
    "user_data: /srv/u is not": (Case({"image": "b", "user_data": "u"}, "", unreadable("/srv/u")), VmdError),
    "disk: a new disk needs a size": (Case({"disk": {"path": "d"}}, ""), VmdError),
    f"disk: {G} bytes are less than the {2 * G} of /srv/b": (Case({"image": "b", "disk": "1G"}, ""), Refused),
    f"disk: {DIR}/disk.qcow2 has 40G and .* 1G": (Case({"disk": "1G"}, "", {"disk": DISK}), Refused),
    "accel: kvm can't be had": (Case({"disk": "1G", "accel": "kvm"}, ""), Refused),
    "machine: qemu-system-x86_64 has no q35": (
        Case({"disk": "1G"}, "", {}, {"qemu": host(machines={"pc": "pc-i440fx-7.2"}).qemu}),
        Refused,
    ),
    "firmware: no UEFI": (Case({"disk": "1G", "firmware": "uefi"}, "", {}, {"firmware": None}), Refused),
    "forward: .* IPv6 address ::1": (Case({"disk": "1G", "forward": ["[::1]:8080:80"]}, ""), Refused),
}


@pytest.mark.parametrize(("words", "refused"), REFUSALS.items(), ids=REFUSALS)
def test_what_can_t_be_done_is_refused_by_guest_and_key(words: str, refused: tuple[Case, type[VmdError]]) -> None:
    case, kind = refused
    alice = guest(**case.written)
    with pytest.raises(VmdError, match=f"^alice: {words}") as caught:
        plan(alice, case.place(alice))
    assert type(caught.value) is kind


@pytest.mark.parametrize("words", [words for words, (case, _) in REFUSALS.items() if "user_data" not in words])
def test_a_refusal_says_what_to_do(words: str) -> None:
    case, _ = REFUSALS[words]
    alice = guest(**case.written)
    with pytest.raises(VmdError) as caught:
        plan(alice, case.place(alice))
    assert caught.value.hint
