"""The move of a NIC as plain data: what is refused, and in which order things are done."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from vmd.plan.bridge import plan_move, plan_return, refusals
from vmd.plan.portrait import differences

FOREVER = 0xFFFFFFFF


def address(words: str, family: int = 2, flags: int = 0, valid: int = FOREVER) -> dict[str, Any]:
    ip, _, length = words.partition("/")
    attrs = [["IFA_ADDRESS", ip], ["IFA_FLAGS", flags]]
    attrs += [["IFA_LOCAL", ip], ["IFA_LABEL", "nic0"]] if family == 2 else []
    attrs.append(["IFA_CACHEINFO", {"ifa_preferred": valid, "ifa_valid": valid, "cstamp": 1, "tstamp": 1}])
    return {"family": family, "prefixlen": int(length), "scope": 0, "flags": flags & 0xFF, "index": 7, "attrs": attrs}


def route(to: str, family: int = 2, proto: int = 3, table: int = 254, **attrs: Any) -> dict[str, Any]:
    ip, _, length = to.partition("/")
    found = [["RTA_TABLE", table], ["RTA_OIF", 7], *([f"RTA_{key.upper()}", value] for key, value in attrs.items())]
    if int(length):
        found.append(["RTA_DST", ip])
    header = {
        "family": family,
        "dst_len": int(length),
        "src_len": 0,
        "tos": 0,
        "table": min(table, 252),
        "proto": proto,
    }
    return {**header, "scope": 0, "type": 1, "flags": 0, "attrs": found}


DEFAULT = "0/0"


@pytest.fixture
def state() -> dict[str, Any]:
    nic = {"name": "nic0", "index": 7, "type": 1, "mac": "52:54:00:99:00:02", "mtu": 1500, "kind": "", "up": True}
    neighbour = {"family": 2, "ifindex": 7, "state": 2, "flags": 0}
    neighbour["attrs"] = [["NDA_DST", "10.9.0.1"], ["NDA_LLADDR", "02:00:00:00:00:01"]]  # type: ignore[assignment]
    return {
        "link": {**nic, "master": "", "master_kind": "", "wireless": False},
        "addresses": [address("10.9.0.2/24"), address("10.9.0.3/24", flags=1), address("fd00::2/64", 10, valid=900)],
        "routes": [
            route(DEFAULT, gateway="10.9.0.1", priority=100),
            route("10.9.0.0/24", proto=2),
            route("10.8.0.0/24", proto=2, priority=50),
            route("fd00::/64", 10, proto=2, priority=256),
        ],
        "neighbours": [neighbour],
        "rules": [],
        "elsewhere": [],
        "above": [],
        "names": ["lo", "nic0"],
        "sysctls": {"ipv6/conf/accept_ra": "2", "ipv6/conf/addr_gen_mode": "0", "ipv4/conf/rp_filter": "1"},
    }


def kinds(messages: Any) -> list[str]:
    return [message["type"].removeprefix("RTM_") for message in messages]


def test_nothing_is_refused(state: dict[str, Any]) -> None:
    assert refusals(state, "br0") == ()


@pytest.mark.parametrize(
    ("what", "value", "words"),
    [
        ("wireless", True, "Wi-Fi"),
        ("type", 772, "no Ethernet"),
        ("kind", "vlan", "is a vlan device"),
        ("kind", "bond", "is a bond device"),
        ("kind", "bridge", "use it as `bridge: nic0`, without an uplink"),
        ("up", False, "is down"),
    ],
)
def test_nic_that_is_unfit(state: dict[str, Any], what: str, value: Any, words: str) -> None:
    state["link"][what] = value
    (refusal,) = refusals(state, "br0")
    assert words in refusal
    assert "nic0" in refusal


@pytest.mark.parametrize(("kind", "words"), [("bridge", "port of the bridge br7"), ("bond", "port of the bond br7")])
def test_nic_that_is_a_port_already(state: dict[str, Any], kind: str, words: str) -> None:
    state["link"] |= {"master": "br7", "master_kind": kind}
    (refusal,) = refusals(state, "br0")
    assert words in refusal


def test_what_is_in_the_way(state: dict[str, Any]) -> None:
    assert "there is a link lo" in refusals(state, "lo")[0]
    assert "1 to 15 bytes" in refusals(state, "b" * 16)[0]
    state["above"] = ["nic0.5"]
    assert "nic0.5 stands on nic0" in refusals(state, "br0")[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"routes": [route("10.1.0.0/16", multipath=[{"oif": 7}])]}, "10.1.0.0/16 in table 254 goes over several"),
        ({"routes": [route("10.1.0.0/16", nh_id=5)]}, "next hop object"),
        ({"routes": [route("10.1.0.0/16", encap_type=1)]}, "wraps its packets"),
        ({"elsewhere": [route(DEFAULT, gateway="10.3.0.1", priority=100)]}, "leads over another link too"),
        ({"rules": [{"attrs": [["FRA_IIFNAME", "nic0"], ["FRA_PRIORITY", 9]]}]}, "rule 9 names nic0"),
        ({"addresses": [address("fd00::2/64", 10, flags=8)]}, "fd00::2 on nic0 is another machine's too"),
    ],
)
def test_what_cannot_be_carried(state: dict[str, Any], change: dict[str, Any], words: str) -> None:
    assert any(words in refusal for refusal in refusals({**state, **change}, "br0"))


def test_order_of_a_move(state: dict[str, Any]) -> None:
    """Addresses first, then the port, then the routes; the NIC is cleared last, secondaries first."""
    move = plan_move(state, "br0")
    assert kinds(move.ready) == ["NEWNEIGH", "NEWADDR", "NEWADDR", "NEWADDR"]
    assert kinds(move.go) == ["SETLINK", "NEWROUTE", "NEWROUTE", "DELADDR", "DELADDR", "DELADDR", "DELROUTE"]
    removed = [dict(one["attrs"])["IFA_ADDRESS"] for one in move.go if one["type"] == "RTM_DELADDR"]
    assert removed == ["fd00::2", "10.9.0.3", "10.9.0.2"]


def test_routes_the_kernel_makes_are_left_to_it(state: dict[str, Any]) -> None:
    routes = [dict(one["attrs"]) for one in plan_move(state, "br0").go if one["type"] == "RTM_NEWROUTE"]
    assert [one.get("RTA_DST") for one in routes] == ["10.8.0.0", None]  # first what gateways are reached by
    assert all(one["RTA_OIF"] == {"link": "br0"} for one in routes)


def test_sysctls_follow_and_no_address_is_made_up_meanwhile(state: dict[str, Any]) -> None:
    move = plan_move(state, "br0")
    assert move.sysctls["ipv6/conf/br0/accept_ra"] == "2"
    assert move.sysctls["ipv6/conf/br0/addr_gen_mode"] == "1"
    assert move.held == {"ipv6/conf/br0/addr_gen_mode": "0"}
    assert move.own_sysctls["ipv4/conf/nic0/rp_filter"] == "1"


def test_undo_puts_back_and_lets_go_last(state: dict[str, Any]) -> None:
    move = plan_move(state, "br0")
    assert kinds(move.undo_settle)[-2:] == ["DELLINK", "DELLINK"]
    assert move.undo[-1]["attrs"] == [["IFLA_MASTER", 0]]
    assert set(kinds(move.undo)[:-1]) == {"NEWROUTE", "DELADDR", "DELROUTE"}
    assert kinds(move.undo_ready) == ["SETLINK", "NEWNEIGH", "NEWADDR", "NEWADDR", "NEWADDR"]


def test_a_move_is_plain_data(state: dict[str, Any]) -> None:
    record = plan_move(state, "br0").as_record()
    assert json.loads(json.dumps(record))["bridge"] == "br0"


def test_return_takes_what_the_bridge_has_now(state: dict[str, Any]) -> None:
    state["link"]["name"] = "br0"
    back = plan_return(state, "nic0")
    assert dict(back.ready[2]["attrs"])["IFA_LABEL"] == "nic0"
    assert back.settle[-1] == {**back.settle[-1], "type": "RTM_DELLINK", "header": {"index": {"link": "br0"}}}


def test_differences_are_named(state: dict[str, Any]) -> None:
    after = copy.deepcopy(state)
    assert differences(state, after, 0) == ()
    del after["addresses"][1]
    after["sysctls"]["ipv4/conf/rp_filter"] = "0"
    found = differences(state, after, 0)
    assert [line.split()[0] for line in found] == ["lost", "lost", "gained"]
    assert "10.9.0.3" in found[0]


def test_lifetimes_may_run_on(state: dict[str, Any]) -> None:
    after = copy.deepcopy(state)
    after["addresses"][2]["attrs"][-1][1]["ifa_valid"] = 895
    assert differences(state, after, 5) == ()
    assert len(differences(state, after, 4)) == 1
