"""Who is started after whom, where several guests are started together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..definition.guest import Guest


def before(guests: Mapping[str, Guest], chosen: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Each of the chosen guests → those of the chosen that it is started after.

    Who is not started now is not waited for. The definition has no circles: `definition.fleet` sees to that.
    """
    together = set(chosen)
    return {
        name: tuple(other for other in guests[name].after if other in together and other != name)
        for name in together
        if name in guests
    }


def stopped_before(guests: Mapping[str, Guest], chosen: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """The way down is the way up backwards: each guest → those of the chosen that have to be down first."""
    first = before(guests, chosen)
    return {name: tuple(other for other, after in first.items() if name in after) for name in first}
