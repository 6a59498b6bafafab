"""What vmd did not make it never touches: every guest's directory bears a marker that says whose it is."""

from __future__ import annotations

from pathlib import Path

from ..definition.layout import GuestLayout
from ..errors import Refused, VmdError
from ..host import files


def claim(places: GuestLayout, fleet_id: str, name: str) -> None:
    """Mark a guest's directory as ours, while it is empty; see that one with something in it is.

    :raise Refused: it isn't.
    """
    directory = Path(places.dir)
    if not Path(places.marker).exists() and not any(directory.iterdir()):
        files.write_record(Path(places.marker), {"fleet_id": fleet_id, "name": name})
    check(places, fleet_id, name)


def check(places: GuestLayout, fleet_id: str, name: str) -> None:
    """See that a guest's directory is this guest's, of this fleet.

    :raise Refused: it isn't; the message says what it is instead.
    """
    if why := stranger(Path(places.marker), fleet_id, name):
        raise Refused(
            f"{name}: {places.dir} {why}, so vmd does not touch it",
            f"move it away; or, if it is meant to be {name}'s, write {marked(fleet_id, name)} into {places.marker}",
        )


def stranger(marker: Path, fleet_id: str, name: str) -> str:
    """Why a directory is not this guest's, or nothing."""
    try:
        record = files.read_record(marker)
    except (VmdError, OSError) as error:
        return f"can't be told to be ours ({error})"
    if record is None:
        return "was not made by vmd"
    if record.get("fleet_id") != fleet_id:
        return f"belongs to another fleet ({record.get('fleet_id')!s:.40})"
    if record.get("name") != name:
        return f"belongs to guest {record.get('name')!s:.64}"
    return ""


def marked(fleet_id: str, name: str) -> str:
    """The marker's text."""
    return f'{{"fleet_id": "{fleet_id}", "name": "{name}"}}'
