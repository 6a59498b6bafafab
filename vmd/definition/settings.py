"""What an operator may write about the daemon itself: who may talk to it.

::

    access:
      read: {groups: [monitoring]}
      write: {users: [dan], groups: [vmd]}
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field, ValidationError

from .document import Source, read
from .explain import explain
from .fault import Fault, nearest
from .written import Text, Written

Account = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s:,/]+$")]
"""The name of a user or a group, as passwd(5) allows it."""


class Grant(Written):
    """To whom a right is given."""

    users: tuple[Account, ...] = ()
    """Users by name."""
    groups: tuple[Account, ...] = ()
    """Groups by name."""


class Access(Written):
    """Who may talk to the daemon, besides root and the user it runs as."""

    read: Grant = Grant()
    """Who may look."""
    write: Grant = Grant()
    """Who may change something; who may, may look as well."""


class Settings(Written):
    """Everything about the daemon itself."""

    access: Access | None = None
    """Who may talk to it; where it is silent, the group vmd may do everything."""


class ParsedSettings(NamedTuple):
    """What was understood, or what is wrong: then ``settings`` grants nobody anything."""

    settings: Settings
    faults: tuple[Fault, ...]


def parse_settings(source: Source) -> ParsedSettings:
    """Read the settings; with a fault anywhere nothing of them holds."""
    document = read(source)
    try:
        settings = Settings.model_validate(document.data, context=Text(""))
    except ValidationError as error:
        for wrong in explain(error, Settings):
            document.fault(wrong.key, nearest(document.where, wrong.key), wrong.message, wrong.hint)
    faults = tuple(sorted({fault for _, fault in document.faults}))
    return ParsedSettings(Settings(access=Access()) if faults else settings, faults)
