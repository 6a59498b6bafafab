"""The rungs down for a guest without a power button: somebody inside has to say ``poweroff``.

They belong to the closed set of :mod:`step`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AskSsh:
    """Log in by ssh as ``user``, where vmd has a key that is let in, and say poweroff.

    ``until`` is how long after the ladder began the guest may take to obey, in seconds.
    """

    user: str
    until: float

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return "tell it to power off by ssh"


@dataclass(frozen=True)
class TypePoweroff:
    """Type poweroff at its serial console, if a root shell waits there; what else is on the console is left alone.

    ``until`` is how long after the ladder began the guest may take to obey, in seconds.
    """

    until: float

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return "type poweroff at its console"
