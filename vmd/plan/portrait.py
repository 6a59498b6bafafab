"""What a link has, in words: to tell whether a move lost anything."""

from __future__ import annotations

from .netlink import Facts, attr, destination, flags_of, lifetimes, remembered, seconds_left, table

_LOCAL_TABLE, _CLONED = 255, 0x200  # RT_TABLE_LOCAL, RTM_F_CLONED: the kernel's own
_FLEETING = 0x04 | 0x20 | 0x40
"""IFA_F_OPTIMISTIC, DEPRECATED and TENTATIVE: they come and go by themselves."""


def differences(before: Facts, after: Facts, seconds: int) -> tuple[str, ...]:
    """What a link has lost or gained compared with another, but for the device's name.

    Lifetimes run on: they may differ by ``seconds``.
    """
    was, now = _portrait(before), _portrait(after)
    lost = [f"lost {key}" for key in was if key not in now]
    gained = [f"gained {key}" for key in now if key not in was]
    off = [f"{key}: {was[key]} became {now[key]}" for key in was if key in now and _aged(was[key], now[key], seconds)]
    return (*lost, *gained, *off)


def _aged(was: tuple[int, ...], now: tuple[int, ...], seconds: int) -> bool:
    return any(abs(one - other) > seconds for one, other in zip(was, now, strict=True))


def _portrait(state: Facts) -> dict[str, tuple[int, ...]]:
    """Each thing a link has, in words, with what of it runs down, in seconds."""
    found: dict[str, tuple[int, ...]] = {
        _address_words(address): lifetimes(address) for address in state["addresses"]
    }
    found |= {_route_words(route): (seconds_left(route),) for route in state["routes"] if _told(route)}
    found |= {f"{path} = {value}": () for path, value in state["sysctls"].items()}
    known = (neighbour for neighbour in state["neighbours"] if remembered(neighbour))
    return found | {f"neighbour {attr(one, 'NDA_DST')} at {attr(one, 'NDA_LLADDR')}": () for one in known}


def _told(route: Facts) -> bool:
    return not route["flags"] & _CLONED and table(route) != _LOCAL_TABLE


def _address_words(address: Facts) -> str:
    label = str(attr(address, "IFA_LABEL", "")).partition(":")[2]
    names = ("IFA_LOCAL", "IFA_ADDRESS", "IFA_BROADCAST", "IFA_RT_PRIORITY", "IFA_PROTO")
    words = [f"{name}={attr(address, name)}" for name in names]
    kept = f"{address['prefixlen']} scope {address['scope']} flags {flags_of(address) & ~_FLEETING:#x}"
    return f"address {words}/{kept} {label}".strip()


def _route_words(route: Facts) -> str:
    names = ("RTA_GATEWAY", "RTA_PREFSRC", "RTA_PRIORITY", "RTA_METRICS", "RTA_PREF")
    words = [f"{name}={attr(route, name)}" for name in names]
    kept = f"proto {route['proto']} scope {route['scope']} type {route['type']} tos {route['tos']}"
    return f"route to {destination(route)} table {table(route)} {kept} {words}"
