"""What is on the virtual FAT drive: to the letter, and as cloud-init's own tools read it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vmd.definition.guest import Guest
from vmd.definition.network import Nic
from vmd.errors import CommandFailed
from vmd.host import fat
from vmd.host.run import run
from vmd.plan import seed
from vmd.plan.observed import DiskFacts, Observed
from vmd.plan.reconcile import up
from vmd.plan.step import WriteSeed

from .conftest import GOLDEN, KEY, G, guest, host, place

Golden = Callable[..., None]

DS_IDENTIFY = "/usr/lib/cloud-init/ds-identify"
MAC = "52:54:00:d6:02:8a"

needs_cloud_init = pytest.mark.skipif(not shutil.which("cloud-init"), reason="cloud-init is not installed")
needs_ds_identify = pytest.mark.skipif(
    not (Path(DS_IDENTIFY).exists() and shutil.which("mformat") and shutil.which("blkid")),
    reason="cloud-init, mtools or blkid is not installed",
)

STATIC = {"address": "192.168.9.2/24", "gateway": "192.168.9.1", "dns": ["192.168.9.1", "9.9.9.9"]}
STATIC_6 = {"address": "fd00::2/64", "gateway": "fd00::1", "dns": ["fd00::53"]}

IMAGES: dict[str, dict[str, Any]] = {
    "image": {},
    "image-everything": {"hostname": "web", "user": "dan", "packages": ["nginx", "g++"]},
    "image-static": {"network": ["user", {"network": "user", **STATIC}]},
    "image-static-ipv6": {"network": {"network": "user", **STATIC_6}},
    "image-two-nics": {"network": ["user", "user"]},
    "image-address-alone": {"network": {"network": "user", "address": "192.168.9.2/24", "mac": "52:54:00:00:00:01"}},
}


def cloud(keys: tuple[str, ...] = (KEY,), **written: Any) -> dict[str, bytes]:
    """The files for cloud-init."""
    return dict(seed.cloud_seed(guest(image="base.qcow2", **written), Observed(keys=keys), host()))


def text(files: seed.Files) -> str:
    return "\n".join(f"# {name}\n{content.decode()}" for name, content in files)


@pytest.mark.parametrize("name", IMAGES)
def test_the_seed_of_an_image_is_as_it_was(name: str, golden: Golden) -> None:
    golden(GOLDEN / "seed" / f"{name}.txt", text(tuple(cloud(**IMAGES[name]).items())))


def with_static_addresses() -> Guest:
    """As it will be once installers are told of addresses: today a definition says so of images alone."""
    nics = (Nic(), *(Nic.model_validate({"network": "user", **static}) for static in (STATIC, STATIC_6)))
    return guest(disk="1G").model_copy(update={"network": nics})


INSTALLS = {"install": guest(disk="1G", hostname="web", user="dan"), "install-static": with_static_addresses()}


@pytest.mark.parametrize("name", INSTALLS)
def test_the_seed_of_an_installer_is_as_it_was(name: str, golden: Golden) -> None:
    files = seed.installer_seed(INSTALLS[name], Observed(keys=(KEY, f"{KEY}-2")), host())
    golden(GOLDEN / "seed" / f"{name}.txt", text(files))


def test_golden_files_of_seeds_that_are_gone_are_gone() -> None:
    assert {path.stem for path in (GOLDEN / "seed").iterdir()} == {*IMAGES, *INSTALLS}


def test_user_data_of_ones_own_is_taken_as_it_is() -> None:
    alice = guest(image="base.qcow2", user_data="mine.yaml")
    for own in (b"", b"#!/bin/sh\n\xff\n"):
        files = dict(seed.cloud_seed(alice, Observed(files={"/srv/mine.yaml": own}), host()))
        assert files["user-data"] == own


def test_two_guests_are_two_instances_to_cloud_init() -> None:
    one, other = (yaml.safe_load(cloud(name=name)["meta-data"]) for name in ("alice", "bob"))
    assert one["instance-id"] != other["instance-id"]
    assert (one["local-hostname"], other["local-hostname"]) == ("alice", "bob")


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(min_codepoint=0x10000)))
def test_cloud_init_reads_any_text_as_it_was(comment: str, beyond: str) -> None:
    """A comment of a key may hold anything, and what is JSON is not always YAML."""
    key = f"ssh-ed25519 AAAA {comment}{beyond}"
    read = yaml.safe_load(cloud(keys=(key,))["user-data"])
    assert [user["ssh_authorized_keys"] for user in read["users"]] == [[key], [key]]


@needs_cloud_init
@pytest.mark.parametrize("name", IMAGES)
async def test_cloud_init_takes_our_user_data(name: str, tmp_path: Path) -> None:
    written = tmp_path / "user-data"
    written.write_bytes(cloud(**IMAGES[name])["user-data"])
    said = await run(("cloud-init", "schema", "--config-file", str(written)), timeout=60)
    assert f"Valid cloud-config: {written}" in said


@needs_cloud_init
async def test_cloud_init_would_say_so_if_it_did_not(tmp_path: Path) -> None:
    written = tmp_path / "user-data"
    written.write_bytes(cloud()["user-data"].replace(b'"ssh_pwauth": false', b'"ssh_pwauth": 3'))
    with pytest.raises(CommandFailed, match="ssh_pwauth"):
        await run(("cloud-init", "schema", "--config-file", str(written)), timeout=60)


@needs_cloud_init
@pytest.mark.parametrize(
    ("static", "lines"),
    [
        (STATIC, {"Address=192.168.9.2/24", "Gateway=192.168.9.1", "DNS=192.168.9.1 9.9.9.9"}),
        (STATIC_6, {"Address=fd00::2/64", "Gateway=fd00::1", "DNS=fd00::53"}),
    ],
    ids=["ipv4", "ipv6"],
)
async def test_cloud_init_makes_our_network_of_it(static: dict[str, Any], lines: set[str], tmp_path: Path) -> None:
    """It renders the same systemd.network(5) that an installer is given."""
    written = tmp_path / "network-config"
    written.write_bytes(cloud(network={"network": "user", **static})["network-config"])
    convert = ("cloud-init", "devel", "net-convert", "-p", str(written), "-k", "yaml", "-d", str(tmp_path))
    await run((*convert, "-D", "debian", "-O", "networkd", "-m", f"nic0,{MAC}"), timeout=60)
    (made,) = (tmp_path / "etc/systemd/network").iterdir()
    assert {f"MACAddress={MAC}", *lines} <= set(made.read_text().splitlines())


@needs_ds_identify
@pytest.mark.parametrize("label", ["CIDATA", "VVFAT"])
async def test_ds_identify_finds_our_drive_by_its_label(label: str, tmp_path: Path) -> None:
    """With the real blkid, looking at the real image in place of this machine's own disks."""
    image = tmp_path / "seed.img"
    alice = guest(image="base.qcow2")
    plan = up(alice, None, place(alice, image=DiskFacts("qcow2", G)))
    (step,) = (step for step in plan if isinstance(step, WriteSeed))
    (tmp_path / "seed").mkdir(mode=0o700)
    for name, content in step.files:
        (tmp_path / "seed" / name).write_bytes(content)
    await fat.make(image, tmp_path / "seed", step.label if label == "CIDATA" else label)
    assert (await identify(image, tmp_path)) == (label == "CIDATA")


async def identify(image: Path, directory: Path) -> bool:
    """Whether ds-identify finds NoCloud among the disks, of which there is this one."""
    root, programs = directory / "root", directory / "bin"
    for each in (root / "proc/1", root / "etc/cloud", root / "run", programs):
        each.mkdir(parents=True)
    for file in ("proc/cmdline", "proc/1/cmdline", "proc/1/environ", "proc/uptime"):
        (root / file).write_text("")
    (root / "etc/cloud/ds-identify.cfg").write_text("policy: search,found=all,maybe=none,notfound=disabled\n")
    (root / "etc/cloud/cloud.cfg").write_text("datasource_list: [ NoCloud, ConfigDrive, OVF ]\n")
    say = {"blkid": f'exec {shutil.which("blkid")} "$@" -p {image}', "systemd-detect-virt": "echo qemu"}
    for program, line in say.items():
        (programs / program).write_text(f"#!/bin/sh\n{line}\n")
        (programs / program).chmod(0o755)
    environment = {"PATH_ROOT": str(root), "PATH": f"{programs}:{os.environ['PATH']}", "DEBUG_LEVEL": "2"}
    await run((DS_IDENTIFY, "--force"), timeout=60, env=environment, accept=(0, 1))  # 1: it found none
    found = root / "run/cloud-init/cloud.cfg"
    return found.exists() and "NoCloud" in found.read_text()
