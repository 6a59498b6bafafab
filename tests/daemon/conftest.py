"""A vmd of the test's own, as a process, with tiny guests on a real QEMU."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.house import QEMU, Vmd
from tests.tiny import guests


class Tiny:
    """What tiny guests are made of, each made once for all tests and only read by them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def disk(self) -> Path:
        """A guest's raw disk; see tests/tiny/disk.s."""
        path = self._directory / "disk.raw"
        return path if path.exists() else guests.disk(path)

    def installer(self, way: guests.Way = "well") -> Path:
        """An installer's ISO that goes this way; see tests/tiny/installer.s."""
        path = self._directory / f"{way}.iso"
        return path if path.exists() else guests.installer(path, way)

    @property
    def unbootable(self) -> Path:
        """An ISO without a boot record."""
        path = self._directory / "unbootable.iso"
        return path if path.exists() else guests.unbootable(path)


def open_to_all() -> Path:
    """Make a directory with a short path, that QEMU's user can pass through as well."""
    path = Path(tempfile.mkdtemp(prefix="vmd-"))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def tiny() -> Iterator[Tiny]:
    if why := guests.missing():
        pytest.skip(why)
    directory = open_to_all()
    yield Tiny(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def known() -> Iterator[bytes]:
    """What a vmd finds out about this host: the race of KVM against TCG takes seconds, and is run once."""
    if not shutil.which(QEMU):
        pytest.skip(f"{QEMU} is not installed")
    directory = open_to_all()
    with Vmd(directory).running() as vmd:
        vmd.ctl("doctor")
        found = json.loads(vmd.capabilities.read_text())
    for facts in found.values():
        facts["accel"]["tcg_scale"] = 1.0  # limits are what a test says, however slow this machine is
    yield json.dumps(found).encode()
    shutil.rmtree(directory)


@pytest.fixture
def place() -> Iterator[Path]:
    directory = open_to_all()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def home(place: Path, known: bytes, tiny: Tiny) -> Iterator[Vmd]:
    """The directories of a vmd that has not been started; what it ever starts is ended after the test."""
    vmd = Vmd(place)
    vmd.capabilities.write_bytes(known)
    vmd.tiny_disk = tiny.disk
    with vmd.ended():
        yield vmd


@pytest.fixture
def vmd(home: Vmd) -> Vmd:
    """A running vmd without guests."""
    home.start()
    return home


@pytest.fixture
def alice(vmd: Vmd) -> Vmd:
    """A running vmd with one guest, alice, that is up."""
    vmd.define_tiny("alice")
    assert vmd.ctl("up", "alice").code == 0
    return vmd
