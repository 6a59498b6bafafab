"""The host's packet filter, by the ``nft`` program and JSON (nftables 1.0.6)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vmd.errors import CommandFailed
from vmd.host.run import run

BRIDGE_CALLS = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
"""1 where bridged IPv4 passes the host's firewall; not there without br_netfilter."""
_PATIENCE = 30.0
_HINT = "`apt install nftables`, or leave out nat and mac: locked"


async def apply(commands: Sequence[dict[str, Any]]) -> None:
    """Do all of it, or nothing. Raises CommandFailed with nft's own words, or when it isn't installed."""
    try:
        await run(("nft", "-j", "-f", "-"), timeout=_PATIENCE, input=json.dumps({"nftables": commands}).encode())
    except CommandFailed as error:
        if error.status == 127:
            raise CommandFailed(error.argv, 127, error.output, _HINT) from error
        raise


async def tables(prefix: str) -> tuple[tuple[str, str], ...]:
    """Family and name of each table whose name begins so: those of ours that an earlier vmd may have left."""
    found = (entry["table"] for entry in await _listed("tables") if "table" in entry)
    return tuple((table["family"], table["name"]) for table in found if table["name"].startswith(prefix))


async def chains() -> tuple[dict[str, Any], ...]:
    """Each chain, with hook and policy where it has them. Those of iptables-legacy can't be seen by nft."""
    return tuple(entry["chain"] for entry in await _listed("chains") if "chain" in entry)


async def _listed(what: str) -> list[dict[str, Any]]:
    said = await run(("nft", "-j", "list", what), timeout=_PATIENCE)
    found: list[dict[str, Any]] = json.loads(said)["nftables"]
    return found


def filters_bridged(path: Path = BRIDGE_CALLS) -> bool:
    """Tell whether the host's firewall sees bridged IPv4 traffic."""
    try:
        return path.read_text().strip() == "1"
    except OSError:
        return False
