"""What several sources say of a guest's addresses becomes one list."""

from __future__ import annotations

from typing import Any

from vmd.plan.addresses import Address, Seen, from_agent, from_leases, from_neighbours, merge

MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"


def test_the_address_to_use_comes_first() -> None:
    seen = [
        Seen(MAC, "fe80::1", "nd", 90),
        Seen(MAC, "fd00::1", "nd", 95),
        Seen(MAC, "10.0.0.7", "arp-probe", 99),
        Seen(MAC, "10.0.0.1", "arp", 80),
        Seen(MAC, "10.0.0.1", "dhcp", 70),
        Seen(OTHER, "10.0.0.2", "dhcp", 99),
    ]
    assert merge(seen, MAC, 100) == (
        Address("10.0.0.1", ("dhcp", "arp"), 20),
        Address("10.0.0.7", ("arp-probe",), 1),
        Address("fd00::1", ("nd",), 5),
        Address("fe80::1", ("nd",), 10),
    )


def test_what_is_no_guests_address_is_left_out() -> None:
    words = ("127.0.0.1", "::1", "::", "224.0.0.1", "ff02::1", "no address")
    assert merge([Seen(MAC, word, "agent", 1) for word in words], MAC, 1) == ()


def test_a_clock_that_was_set_back_gives_no_negative_age() -> None:
    assert merge([Seen(MAC, "10.0.0.1", "arp", 50)], MAC, 10)[0].age == 0


def test_neighbours() -> None:
    attrs = [["NDA_DST", "10.0.0.1"], ["NDA_LLADDR", MAC], ["NDA_CACHEINFO", {"ndm_confirmed": 500}]]
    known = {"family": 2, "state": 4, "flags": 0, "attrs": attrs}
    failed = {**known, "state": 0x20}
    assert from_neighbours([known, failed], 100) == (Seen(MAC, "10.0.0.1", "neighbour", 95),)


def test_agent() -> None:
    answer: list[dict[str, Any]] = [
        {"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1", "prefix": 8}]},
        {"name": "eth0", "hardware-address": MAC, "ip-addresses": [{"ip-address": "10.0.0.1", "prefix": 24}]},
        {"name": "eth1", "hardware-address": OTHER},
    ]
    assert from_agent(answer, 7) == (Seen(MAC, "10.0.0.1", "agent", 7),)


def test_leases() -> None:
    text = f"duid 00:01\n100 {MAC} 10.0.0.1 alice *\n0 {OTHER} 10.0.0.2 * 01:02\n200 {MAC} 10.0.0.3 alice *\n1 2\n"
    assert [lease.address for lease in from_leases(text, 150)] == ["10.0.0.2", "10.0.0.3"]
