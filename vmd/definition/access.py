"""Who may log in: public keys, literally or in a file."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from pydantic import model_validator

from .fault import quoted
from .written import FilePath, Line, Written, wrong

_KINDS = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
_HARDWARE = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
KEY_KINDS = _KINDS + _HARDWARE
"""The kinds of public key that OpenSSH 9 takes."""

_KEY = re.compile(r"(\S+) +([A-Za-z0-9+/]+={0,2})( .*)?")


class SshKey(Written):
    """A public key that may log in: either its line, or the file it is in (any line of which is a key)."""

    text: Line | None = None
    """The key itself, as in authorized_keys."""
    path: FilePath | None = None
    """A file of public keys."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, written: Any) -> Any:
        if not isinstance(written, str):
            return written
        line = written.strip()
        if "PRIVATE KEY" in line:
            raise wrong("this is a private key", "write the public one, or the path of its .pub file")
        first = line.split(" ")[0]
        literal = first in KEY_KINDS or (line != first and first.startswith(("ssh-", "ecdsa-", "sk-")))
        return {"text": line} if literal and "/" not in first else {"path": line}

    @model_validator(mode="after")
    def _check(self) -> SshKey:
        if (self.text is None) == (self.path is None):
            raise wrong("it is not one of text and path", "write the key itself, or the path of its file")
        if self.text is not None:
            check_key(self.text)
        return self


def check_key(line: str) -> str:
    """One line of authorized_keys without options, as it stands.

    :raise PydanticCustomError: it is no public key, or was cut short.
    """
    parts = _KEY.fullmatch(line)
    if not parts or parts[1] not in KEY_KINDS:
        raise wrong(f"{quoted(line)} is not a public key", "write the whole line of a .pub file, or its path")
    name = parts[1].encode()
    try:
        blob = base64.b64decode(parts[2], validate=True)
    except binascii.Error:
        blob = b""
    # the key's own first field is its kind again (RFC 4253, section 6.6)
    if blob[: 4 + len(name)] != len(name).to_bytes(4, "big") + name or len(blob) < 40:
        raise wrong(f"the {parts[1]} key is damaged or cut short", "write the whole line of a .pub file")
    return line
