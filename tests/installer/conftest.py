"""The built ISO, for this room's tests and for others'."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vmd.errors import VmdError
from vmd.installer import debian, namespace


def cache() -> Path:
    """Where what takes long to make is kept between test runs."""
    return Path(os.environ.get("VMD_TEST_CACHE") or Path.home() / ".cache/vmd-test")


def debian_iso(release: str) -> Path:
    """The installer ISO of a release, built once for each recipe; skips where it can't be built."""
    path = cache() / f"{debian.cache_key(release)}.iso"
    if not path.exists():
        needs_a_builder()
        debian.build(release, path, work=cache() / "installer", announce=lambda *_: None)
    return path


def needs_a_builder() -> None:
    """Skip where a program or a namespace is missing."""
    if missing := debian.missing_programs():
        pytest.skip(f"not installed: {' '.join(package for _, package in missing)}")
    try:
        namespace.check()
    except VmdError as error:
        pytest.skip(str(error))
