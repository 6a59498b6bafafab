"""What a client may ask for: the bodies of requests, checked before anybody acts on them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..definition.written import LABEL_PATTERN
from ..errors import UsageError

Name = Annotated[str, Field(pattern=LABEL_PATTERN)]
Rung = Literal["process", "kernel", "link", "address", "ssh"]
Seconds = Annotated[float, Field(ge=0, le=366 * 86400, allow_inf_nan=False)]
KeyLine = Annotated[str, Field(min_length=16, max_length=16384, pattern=r"^(ssh-|ecdsa-|sk-)[^\x00-\x1f\x7f]+$")]


Tag = Annotated[str, Field(min_length=1, max_length=63)]
Directory = Annotated[str, Field(pattern=r"^/[^\x00-\x1f]*$", max_length=4096)]


class Wish(BaseModel):
    """A request's body: no key that nobody knows, nothing converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Guests(Wish):
    """Some guests by name, or all."""

    guests: Annotated[list[Name], Field(max_length=1000)] = []
    all: bool = False


class Up(Guests):
    """Lead guests up; ``keys`` are the caller's public keys, ``wait`` the rung to answer at."""

    keys: Annotated[list[KeyLine], Field(max_length=100)] = []
    wait: Rung | None = None
    timeout: Seconds | None = None


class Apply(Wish):
    """Make the whole fleet as it is defined; ``prune`` ends guests that are not defined any more."""

    prune: bool = False
    keys: Annotated[list[KeyLine], Field(max_length=100)] = []
    wait: Rung | None = None
    timeout: Seconds | None = None


class Down(Guests):
    """Lead guests down; ``timeout`` is the ladder's, in seconds. ``for_now`` leaves noted what was wanted of them."""

    timeout: Seconds | None = None
    for_now: bool = False


class Wait(Wish):
    """Wait for a guest to reach a rung."""

    guest: Name
    rung: Rung
    timeout: Seconds | None = None


class Link(Wish):
    """Pull a cable of a running guest, or plug it in; ``nic`` is its network, or its number from 0."""

    guest: Name
    nic: Annotated[str, Field(pattern=LABEL_PATTERN)]
    up: bool


class Iso(Wish):
    """Build an installer's ISO."""

    release: str


class OfDisk(Wish):
    """What is asked of a guest's disk by itself."""


class Snapshot(OfDisk):
    """Take a snapshot of a guest's disk, and of its memory where it runs; or delete one."""

    guest: Name
    tag: Tag | None = None
    delete: bool = False

    @model_validator(mode="after")
    def _check(self) -> Snapshot:
        if self.delete and self.tag is None:
            raise ValueError("which snapshot is to be deleted is not said")
        return self


class Restore(OfDisk):
    """Put a guest's disk back to a snapshot, or to a backup (the last one of a directory, or that ``number``)."""

    guest: Name
    tag: Tag | None = None
    directory: Directory | None = None
    number: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Restore:
        if (self.tag is None) == (self.directory is None) or (self.number and self.tag):
            raise ValueError("name a snapshot, or the directory of a backup")
        return self


class Backup(OfDisk):
    """Back a guest's disk up into a directory; ``verify`` only looks at the last backup there."""

    guest: Name
    directory: Directory
    full: bool = False
    verify: bool = False


class Clone(OfDisk):
    """Give ``target`` a disk with what ``source`` has on its own; ``linked`` stores only what differs."""

    source: Name
    target: Name
    linked: bool = False


class Trash(OfDisk):
    """Put a guest back that was removed; or remove for good what is in the trash for ``older`` seconds."""

    restore: Annotated[str, Field(pattern=r"^[a-z0-9][A-Za-z0-9.-]*$", max_length=120)] | None = None
    empty: bool = False
    older: Seconds | None = None

    @model_validator(mode="after")
    def _check(self) -> Trash:
        if (self.restore is None) != self.empty:
            raise ValueError("restore one, or empty it")
        return self


W = TypeVar("W", bound=Wish)


def read(kind: type[W], body: dict[str, Any]) -> W:
    """Check a body.

    :raise UsageError: it isn't of this kind; the message names each key at fault.
    """
    try:
        # read as JSON: strict validation takes a whole number for a float only there
        return kind.model_validate_json(json.dumps(body))
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors())
        raise UsageError("; ".join(faults)) from None
