from vmd.definition.fault import Fault, Position, dotted, nearest
from vmd.definition.fleet import Fleet, between
from vmd.definition.guest import Guest
from vmd.definition.parse import Source, parse

ONE = Source("one.yaml", b"guests:\n  alice: {memory: 1G, disk: 1G, forward: ['8080:80']}\n", "/f")
TWO = Source("two.yaml", b"guests:\n  bob: {memory: 1G, disk: 1G, vnc: '127.0.0.1:2180'}\n", "/f")


def test_two_files_are_one_fleet() -> None:
    fleet, faults = parse([ONE, Source("three.yaml", b"installers:\n  nixos: {iso: nixos.iso}\n", "/f")])
    assert (list(fleet.guests), list(fleet.installers), faults) == (["alice"], ["nixos"], ())
    nixos = fleet.installers["nixos"]
    assert (nixos.name, nixos.iso, nixos.success) == ("nixos", "/f/nixos.iso", "INSTALL_SUCCESSFUL")
    assert (nixos.timeout, nixos.silence) == (1800.0, 300.0)


def test_a_clash_across_files_names_both_guests_and_both_places() -> None:
    fleet, faults = parse([ONE, TWO])
    assert [str(fault) for fault in faults] == [
        "two.yaml:2:31: guests.bob.vnc: bob can't have it: VNC display 2180 is taken by alice at one.yaml:2:43; "
        "choose another display"
    ]
    assert list(fleet.guests) == ["alice"]


def test_a_guest_defined_in_two_files_names_both() -> None:
    fleet, faults = parse([ONE, ONE._replace(name="copy.yaml")])
    assert [str(fault) for fault in faults] == [
        "copy.yaml:2:3: guests.alice: alice is defined in one.yaml:2:3 already; rename or remove one of them"
    ]
    assert list(fleet.guests) == ["alice"]


def test_a_name_is_taken_by_a_broken_guest_as_well() -> None:
    broken = Source("broken.yaml", b"guests:\n  alice: {memory: lots, disk: 1G}\n", "/f")
    fleet, faults = parse([broken, ONE])
    assert [(fault.file, fault.key) for fault in faults] == [
        ("broken.yaml", "guests.alice.memory"),
        ("one.yaml", "guests.alice"),
    ]
    assert not fleet.guests


def test_a_broken_file_harms_no_other() -> None:
    fleet, faults = parse([Source("broken.yaml", b"guests: {", "/f"), ONE, TWO._replace(data=b"\0")])
    assert list(fleet.guests) == ["alice"]
    assert [fault.file for fault in faults] == ["broken.yaml", "two.yaml"]


def test_a_key_has_a_place_and_a_silent_one_that_of_what_it_would_stand_in() -> None:
    fleet = parse([ONE]).fleet
    assert fleet.position("guests", "alice", "forward", 0) == Position("one.yaml", 2, 43)
    assert fleet.position("guests", "alice", "vnc") == fleet.position("guests", "alice")
    assert str(fleet.position("guests", "alice")) == "one.yaml:2:3"


def test_a_fleet_without_text_has_faults_too() -> None:
    guests = [Guest.model_validate({"name": name, "memory": 1 << 30, "disk": 1 << 30, "vnc": ":1"}) for name in "ab"]
    found = list(between(Fleet({guest.name: guest for guest in guests})))
    assert [name for name, _ in found] == ["b"]
    assert "taken by a" in found[0][1].message


def test_a_fault_is_one_line() -> None:
    assert str(Fault("f.yaml", 1, 2, "a.b", "it is wrong", "mend it")) == "f.yaml:1:2: a.b: it is wrong; mend it"
    assert str(Fault("f.yaml", 1, 2, "", "it is wrong")) == "f.yaml:1:2: it is wrong"
    assert dotted(("guests", "alice", "network", 0, "mac")) == "guests.alice.network[0].mac"
    assert dotted(("guests", "x" * 5000)) == f"guests.{'x' * 67}..."
    assert nearest({}, ("guests",)) == Position("", 1, 1)
