"""What a client may ask for: the bodies of requests, checked before anybody acts on them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..definition.written import LABEL_PATTERN
from ..errors import UsageError

Name = Annotated[str, Field(pattern=LABEL_PATTERN)]
Rung = Literal["process", "kernel", "link", "address", "ssh"]
Seconds = Annotated[float, Field(ge=0, le=366 * 86400, allow_inf_nan=False)]
KeyLine = Annotated[str, Field(min_length=16, max_length=16384, pattern=r"^(ssh-|ecdsa-|sk-)[^\x00-\x1f\x7f]+$")]


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
    """Lead guests down; ``timeout`` is the ladder's, in seconds."""

    timeout: Seconds | None = None


class Wait(Wish):
    """Wait for a guest to reach a rung."""

    guest: Name
    rung: Rung
    timeout: Seconds | None = None


class Iso(Wish):
    """Build an installer's ISO."""

    release: str


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
