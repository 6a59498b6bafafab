import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from vmd.definition import node
from vmd.definition.boot import Boot
from vmd.definition.document import resolve
from vmd.definition.guest import Disk, Guest, Image
from vmd.definition.limits import Limits
from vmd.definition.network import Forward, Network, Nic, Vnc
from vmd.definition.parse import Source, parse, strict
from vmd.definition.written import Written
from vmd.errors import DefinitionError

CORPUS = sorted((Path(__file__).parent / "faults").rglob("*.yaml"))
EXAMPLES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
HERE = "/etc/vmd/fleet.d"


def source(data: bytes | str, name: str = "fleet.yaml") -> Source:
    return Source(name, data.encode() if isinstance(data, str) else data, HERE)


@pytest.mark.parametrize("broken", CORPUS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_fault_is_told(broken: Path, golden: Callable[[Path, str], None]) -> None:
    faults = parse([source(broken.read_bytes(), broken.name)]).faults
    assert faults
    golden(broken.with_suffix(".txt"), "".join(f"{fault}\n" for fault in faults))


def test_no_golden_file_has_lost_its_text() -> None:
    texts = {path.with_suffix(".txt") for path in CORPUS}
    assert set((Path(__file__).parent / "faults").rglob("*.txt")) == texts


@pytest.mark.parametrize("shown", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_right(shown: Path) -> None:
    assert strict([source(shown.read_bytes(), shown.name)]).guests


def test_all_examples_together_are_a_fleet() -> None:
    fleet = strict([source(shown.read_bytes(), shown.name) for shown in EXAMPLES])
    assert fleet.guests["alice"].install == "debian-12"


@pytest.mark.parametrize(
    "model", [Guest, Disk, Image, Boot, Network, Nic, Forward, Vnc, Limits], ids=lambda model: model.__name__
)
def test_the_examples_write_every_key(model: type[Written]) -> None:
    fleet = strict([source(shown.read_bytes(), shown.name) for shown in EXAMPLES])
    written: set[str] = set()
    for guest in fleet.guests.values():
        nics = guest.network
        forwards = [*guest.forward, *(forward for nic in nics for forward in nic.forward)]
        for thing in (
            *fleet.networks.values(),
            guest,
            guest.disk,
            guest.image,
            guest.boot,
            guest.vnc,
            guest.limits,
            *nics,
            *forwards,
        ):
            if isinstance(thing, model):
                written |= thing.model_fields_set
    assert written == set(model.model_fields)


@pytest.mark.parametrize(
    "data", ["", "# nothing\n", "\ufeff", "---\n", "guests:\n", "guests: {}\ninstallers:\n", "~"]
)
def test_nothing_is_an_empty_fleet(data: str) -> None:
    fleet, faults = parse([source(data)])
    assert (dict(fleet.guests), faults) == ({}, ())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2222:22", "2222:22"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("2026-11-23", "2026-11-23"),
        ("012", 12),
        ("0o17", 15),
        ("0xff", 255),
        ("-7", -7),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("9" * 5000, float("inf")),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_names_are_what_is_written() -> None:
    text = "guests:\n" + "".join(f"  {name}: {{memory: 1G, disk: 1G}}\n" for name in ("no", "123", "true", "~"))
    fleet, faults = parse([source(text)])
    assert list(fleet.guests) == ["no", "123", "true"]
    assert [fault.key for fault in faults] == ["guests.~"]


def test_one_broken_guest_harms_no_other() -> None:
    text = "guests:\n  bad: {memory: lots}\n  good: {memory: 1G, disk: 1G}\n"
    fleet, faults = parse([source(text)])
    assert list(fleet.guests) == ["good"]
    assert {fault.line for fault in faults} == {2}


def test_an_alias_is_its_value() -> None:
    text = "guests:\n  alice: &small {memory: 1G, disk: 1G}\n  bob: *small\n"
    assert strict([source(text)]).guests["bob"].memory == 1 << 30


def test_what_is_no_path_of_the_texts_is_relative_to_its_file() -> None:
    text = b"guests:\n  a: {memory: 1G, image: b.qcow2}\n"
    image = strict([Source("/srv/fleet/a.yaml", text)]).guests["a"].image
    assert image == Image(path="/srv/fleet/b.qcow2")


def test_strict_raises_every_fault() -> None:
    with pytest.raises(DefinitionError) as caught:
        strict([source("guests:\n  a: {memory: 1, disk: 1}\n")])
    assert [line.split(": ")[1] for line in caught.value.faults] == ["guests.a.memory", "guests.a.disk"]


HOSTILE = {
    "large": b"x" * 50_000_000,
    "deep list": b"[" * 500_000,
    "deep mapping": b"{" * 500_000,
    "deep block": b"- " * 500_000,
    "deep key": b"? " * 500_000,
    "deep by alias": b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [*a%d]\n" % (n, n, n - 1) for n in range(1, 60)),
    "wide": b"[" + b"1," * 500_000,
    "many keys": b"".join(b"k%d: 1\n" % number for number in range(90_000)),
    "many unknown keys": b"guests: {a: {" + b"".join(b"k%d: 1," % number for number in range(9_900)) + b"}}",
    "many unknown guests": b"guests: {" + b"".join(b"g%d: {b: 1}," % number for number in range(4_900)) + b"}",
    "duplicates": b"a:\n" * 300_000,
    "laughs": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [" % (c, c) + b"*%c," % (c - 1) * 9 + b"]\n" for c in range(98, 110)),
    "anchors": b"".join(b"- &a%d x\n" % number for number in range(60_000)),
    "tags": b"!<" * 500_000,
    "directives": b"%" * 1_000_000,
    "spaces": b" " * 1_000_000 + b"a",
    "long key": b"a" * 1_000_000 + b": 1",
    "long guest": b"guests: {" + b"a" * 1000 + b": {machine: " + b"q" * 900_000 + b"}}",
    "long path": b"guests: {a: {memory: 1G, image: ~" + b"a" * 900_000 + b"}}",
    "long name": b"guests: {" + b'"' + b"a" * 900_000 + b'": {}}',
    "long word": b"guests: {a: {memory: 1G, disk: 1G, network: " + b"a" * 900_000 + b"}}",
    "long list": b"guests: {a: {memory: 1G, disk: 1G, vnc: [" + b"1," * 9000 + b"]}}",
    "digits": b"guests: {a: {memory: " + b"9" * 900_000 + b"}}",
    "pattern": b"guests: {a: {memory: 1G, disk: 1G, cpu: '" + b"a,a" * 300_000 + b"!'}}",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_a_fault_and_takes_little_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        fleet, faults = parse([source(data)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert faults
    assert not fleet.guests
    assert peak < 32 << 20
    assert all(len(str(fault)) < 500 for fault in faults)


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf\xff")
def test_no_bytes_are_an_exception(data: bytes) -> None:
    parse([source(data)])


_WORDS = [*Guest.model_fields, *Nic.model_fields, *Disk.model_fields, "guests", "installers", "iso", "alice", "<<"]
_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["1G", "30m", "user", ":1", "8080:80", "q35", "malta", "mips", "debian-12", "10.0.2.9/24"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(_WORDS), _values, max_size=6), _values)
def test_no_values_are_an_exception(guest: dict[str, object], top: object) -> None:
    parse([source(yaml.safe_dump({"guests": {"alice": guest}, "installers": top}))])


def test_the_slow_parser_builds_the_same_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    text = source((EXAMPLES[0].parent / "everything.yaml").read_bytes())
    fast = parse([text])
    monkeypatch.setattr(node, "_LOADER", yaml.SafeLoader)
    assert parse([text]) == fast
