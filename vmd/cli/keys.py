"""The invoking user's ssh keys, and the one vmctl makes for a user who has none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import VmdError
from . import show

ORDER = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
"""The order in which ssh tries them: ssh_config(5), IdentityFile, OpenSSH 9.2."""

_LONGEST = 16 * 1024  # bytes: a public key; RSA's longest, 16384 bits, take 2.8 KiB


def offered(environ: Mapping[str, str]) -> list[str]:
    """Collect the public keys a guest shall let in; if there is none, make a pair that ``vmctl ssh`` uses.

    :raise VmdError: if none can be made.
    """
    own = _own(environ)
    keys = [key for path in (*_public(environ), own.with_suffix(".pub")) if (key := _read(path))]
    if not keys:
        _make(own)
        show.note(f"vmctl: you have no ssh key, so it made one: {own}")
        keys = [key for key in (_read(own.with_suffix(".pub")),) if key]
    return list(dict.fromkeys(keys))


def identities(environ: Mapping[str, str]) -> list[str]:
    """List the private keys that ssh shall offer: vmctl's own first, then the user's; only those there are."""
    own = _own(environ)
    mine = [own] if own.exists() else []
    return [str(path) for path in (*mine, *(public.with_suffix("") for public in _public(environ))) if path.exists()]


def _own(environ: Mapping[str, str]) -> Path:
    state = environ.get("VMD_STATE_DIR")
    if state:
        return Path(state).absolute() / "client" / "id_ed25519"
    local = environ.get("XDG_STATE_HOME")
    return (
        (Path(local) if local else _home(environ) / ".local" / "state").absolute() / "vmd" / "client" / "id_ed25519"
    )


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or "/")


def _public(environ: Mapping[str, str]) -> list[Path]:
    """List the user's public keys in ssh's order, those ssh has no order for last."""
    try:
        found = sorted((_home(environ) / ".ssh").glob("id_*.pub"))
    except OSError:
        return []
    rank = {name: place for place, name in enumerate(ORDER)}
    return sorted(found, key=lambda path: rank.get(path.stem, len(ORDER)))


def _read(path: Path) -> str:
    """Read a public key's one line; nothing if the file holds none."""
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST).decode()
    except (OSError, UnicodeDecodeError):
        return ""
    line = text.strip().partition("\n")[0].strip()
    return line if line.startswith(("ssh-", "ecdsa-", "sk-")) and len(line.split()) > 1 else ""


def _make(own: Path) -> None:
    """Make a key pair; of two vmctls that do so at once, one's pair is kept, whole."""
    import tempfile  # noqa: PLC0415 - once in a user's life

    directory = own.parent
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix="client.") as scratch:
            made = Path(scratch) / directory.name  # tempfile makes it 0700, and so is what is made in it
            made.mkdir(mode=0o700)
            _generate(made / own.name)
            _put(made, directory)
    except OSError as error:
        raise VmdError(
            f"you have no ssh key, and none can be made at {own}: {error.strerror}", "make one: ssh-keygen -t ed25519"
        ) from error


def _put(made: Path, directory: Path) -> None:
    try:
        made.rename(directory)  # replaces an empty directory, and fails on one that holds a key
    except OSError:
        if not (directory / "id_ed25519.pub").exists():
            raise


def _generate(path: Path) -> None:
    import subprocess  # noqa: PLC0415 - once in a user's life

    comment = f"vmctl@{os.uname().nodename}"
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise VmdError("you have no ssh key, and there is no ssh-keygen", "install openssh-client") from error
    if done.returncode:
        raise VmdError(f"ssh-keygen could not make a key: {(done.stderr or done.stdout).strip()}")
