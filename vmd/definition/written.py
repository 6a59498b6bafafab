"""What every written thing has in common: the model it is checked by, and the words it is made of.

A model takes the same thing in two ways. As it was written (the validation's context is a `Text`): sizes are
words, paths may be relative. As it was recorded (no context): sizes are bytes, durations seconds, paths absolute.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from ..errors import UsageError
from .fault import quoted
from .units import DURATION_PATTERN, SIZE_PATTERN, parse_duration, parse_size

LABEL_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
"""A DNS label (RFC 1123), in lower case."""

LABEL_RULE = "a name is a DNS label: 1 to 63 of a-z, 0-9 and -, neither first nor last a -"


class Text(NamedTuple):
    """The validation's context when the thing comes from a text an operator wrote."""

    directory: str
    """What relative paths are relative to."""


class Written(BaseModel):
    """Something an operator writes: frozen, and without a key that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def wrong(message: str, hint: str = "") -> PydanticCustomError:
    """Make the error a validator raises: what is wrong, and what to do."""
    # the braces of a message template are pydantic's own: the words go in as a value
    return PydanticCustomError("vmd", "{message}", {"message": message, "hint": hint})


class Wrong(NamedTuple):
    """One thing that is wrong inside a model: where from the model on, what, and what to do."""

    key: tuple[str | int, ...]
    message: str
    hint: str


def all_wrong(faults: tuple[Wrong, ...]) -> PydanticCustomError:
    """Make the error of a model that is wrong in several places at once."""
    words = "; ".join(fault.message for fault in faults)
    return PydanticCustomError("vmd", "{message}", {"message": words, "hint": "", "faults": faults})


def _size(value: object, info: ValidationInfo) -> object:
    return _measured(value, info, parse_size)


def _duration(value: object, info: ValidationInfo) -> object:
    return _measured(value, info, parse_duration)


def _measured(value: object, info: ValidationInfo, parse: Any) -> object:
    recorded = info.context is None and isinstance(value, (int, float))
    try:
        return value if recorded else parse(value)
    except UsageError as error:
        raise wrong(error.message, error.hint) from None


def _path(value: str, info: ValidationInfo) -> str:
    if value.startswith("~"):
        raise wrong(f"{quoted(value)} starts with ~, which only a shell understands", "write the absolute path")
    if not value or "\0" in value or "\n" in value:
        raise wrong("this is not a path", "write the path of a file")
    directory = info.context.directory if isinstance(info.context, Text) else ""
    path = posixpath.normpath(posixpath.join(directory, value))
    if info.context is None and not path.startswith("/"):
        raise wrong(f"{quoted(value)} is not absolute", "write the absolute path")
    return path


def _label(value: str) -> str:
    if not re.fullmatch(LABEL_PATTERN, value):
        raise wrong(f"{quoted(value)} is not a name", LABEL_RULE)
    return value


def _mac(value: str) -> str:
    if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", value):
        raise wrong(f"{quoted(value)} is not a MAC address", "write it as 52:54:00:12:34:56")
    if int(value[:2], 16) & 1 or not int(value.replace(":", ""), 16):
        raise wrong(f"{value} can't be a NIC's own MAC address", "take one that starts with 52:54:00")
    return value.lower()


def address(value: str) -> str:
    """Put an IP address in its usual writing.

    :raise PydanticCustomError: it is none.
    """
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise wrong(f"{quoted(value)} is not an IP address", "write it as 192.168.9.1") from None


def _line(value: str) -> str:
    if not value.isprintable():
        raise wrong("it has a character that can't be printed", "write it on one line")
    return value


Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN})]
"""Bytes; written as 512M."""

Duration = Annotated[
    float, BeforeValidator(_duration), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
]
"""Seconds; written as 30m."""

FilePath = Annotated[str, AfterValidator(_path), WithJsonSchema({"type": "string", "pattern": "^[^~\\n]"})]
"""An absolute path; written relative to the file it stands in, too."""

Label = Annotated[str, AfterValidator(_label), WithJsonSchema({"type": "string", "pattern": LABEL_PATTERN})]
"""A DNS label."""

Mac = Annotated[
    str,
    AfterValidator(_mac),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f][02468aceACE](:[0-9A-Fa-f]{2}){5}$"}),
]
"""A MAC address, in lower case."""

Address = Annotated[str, AfterValidator(address), WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f.:]+$"})]
"""An IPv4 or IPv6 address."""

Line = Annotated[str, AfterValidator(_line), WithJsonSchema({"type": "string", "pattern": "^[^\\n]*$"})]
"""Printable words on one line."""

Count = Annotated[int, Strict()]
"""A whole number, not a truth value."""

Strictly = Annotated[bool, Strict()]
"""true or false, and no word or number that might be meant for it."""
