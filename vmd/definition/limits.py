"""What a guest may use of its host at most, besides its memory and its processors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core.core_schema import ValidationInfo

from .fault import quoted
from .units import format_size
from .written import Size, Written, Wrong, wrong

SHARE_PATTERN = r"^[0-9]{1,5}%$"

OVERHEAD = 128 << 20
"""Bytes that QEMU needs besides the guest's memory; emulation takes 64 to 95 MiB more (QEMU 7.2, TCG)."""


def _share(value: object, info: ValidationInfo) -> object:
    if info.context is None and isinstance(value, float):
        return value
    if not isinstance(value, str) or not re.fullmatch(SHARE_PATTERN, value) or not int(value[:-1]):
        raise wrong(f"{quoted(value)} is not a share of a processor", "say 50%, or 150% for one and a half")
    return int(value[:-1]) / 100


Share = Annotated[float, BeforeValidator(_share), WithJsonSchema({"type": "string", "pattern": SHARE_PATTERN})]
"""Of one processor: 1.5 is one and a half; written as 150%."""


class Limits(Written):
    """What its QEMU may use of the host at most; systemd holds it to that, so vmd must be its service."""

    cpu: Annotated[Share | None, Field(examples=["150%"])] = None
    """Time of the host's processors: 150% is one and a half."""
    memory: Annotated[Size | None, Field(examples=["2G"])] = None
    """Memory of QEMU as a whole; it must have room for the guest's and 128M more."""
    io: Annotated[Size | None, Field(examples=["50M"])] = None
    """Bytes a second read from its disk, and as many written to it."""

    @model_validator(mode="after")
    def _says_something(self) -> Limits:
        if self.cpu is None and self.memory is None and self.io is None:
            raise wrong("it limits nothing", "write cpu: 150%, memory: 2G or io: 50M, or leave the key out")
        return self


def faults(limits: Limits | None, memory: int) -> Iterator[Wrong]:
    """What is wrong with the limits of a guest that has so many bytes of memory."""
    if limits and limits.memory is not None and limits.memory < memory + OVERHEAD:
        least = format_size(memory + OVERHEAD)
        message = f"{format_size(limits.memory)} are too little for a guest of {format_size(memory)}"
        yield Wrong(("limits", "memory"), message, f"write {least} or more: the kernel would kill its QEMU")
