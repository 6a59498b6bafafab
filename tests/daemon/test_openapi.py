"""The API's own description: complete, valid, true, and a fuzzer's guide to a real vmd."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.daemon.conftest import Tiny, open_to_all
from tests.daemon.house import Vmd
from vmd.daemon.api import Api
from vmd.daemon.change import Changes
from vmd.daemon.openapi import document
from vmd.daemon.routes import ROUTES, Route, find
from vmd.daemon.wishes import OfDisk

FACTS = [route for route in ROUTES if route.method == "GET" and route.answer in document()["components"]["schemas"]]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_what_it_refers_to_is_there() -> None:
    known = {f"#/components/schemas/{name}" for name in document()["components"]["schemas"]}
    assert set(references(document())) <= known


@pytest.mark.parametrize("name", sorted(document()["components"]["schemas"]))
def test_each_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(document()["components"]["schemas"][name])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_each_route_is_found_and_answered(route: Route) -> None:
    path = tuple(route.path.format(name="alice").strip("/").split("/"))
    assert find(route.method, path) == (route, "alice" if "{name}" in route.path else "")
    of_disk = route.body is not None and issubclass(route.body, OfDisk)  # whose answers mypy counts
    assert of_disk or callable(getattr(Changes if route.answer == "outcome" else Api, route.name))
    assert (route.body is not None) == (route.method == "POST" and route.answer != "conversation")


def test_routes_have_names_and_places_of_their_own() -> None:
    assert (
        len({route.name for route in ROUTES}) == len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    )


@pytest.mark.parametrize("route", FACTS, ids=lambda route: route.name)
def test_each_fact_is_as_described(shared: Vmd, route: Route) -> None:
    status, body = shared.ask(f"GET {route.path.format(name='alice')} HTTP/1.0\r\n\r\n")
    assert status in (200, 409)
    schema = {"$ref": f"#/components/schemas/{route.answer if status == 200 else 'Error'}"}
    jsonschema.validate(body, {**schema, "components": document()["components"]})


@pytest.fixture(scope="module")
def shared(known: bytes, tiny: Tiny) -> Iterator[Vmd]:
    """One vmd with a guest that runs, for all that only ask."""
    place = open_to_all()
    vmd = Vmd(place)
    vmd.capabilities.write_bytes(known)
    vmd.tiny_disk = tiny.disk
    with vmd.running():
        vmd.define_tiny("alice")
        assert vmd.ctl("up", "alice").code == 0
        yield vmd
    shutil.rmtree(place)


# -- the fuzzer

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@contextmanager
def bridge(path: Path) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to a unix socket, while this lasts."""
    argv = ("socat", "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1,fork", f"UNIX-CONNECT:{path}")
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as socat:
        assert socat.stderr is not None
        said = socat.stderr.readline()
        while "listening on" not in said:
            said = socat.stderr.readline()
        drain = threading.Thread(target=socat.stderr.read)
        drain.start()
        try:
            yield int(said.strip().rpartition(":")[2])
        finally:
            socat.terminate()
            drain.join()


def finite() -> dict[str, Any]:
    """The document without the word that has an answer go on for ever."""
    found: dict[str, Any] = json.loads(json.dumps(document()))
    for path in found["paths"].values():
        for operation in path.values():
            operation["parameters"] = [each for each in operation["parameters"] if each["name"] != "follow"]
    return found


@pytest.mark.skipif(not shutil.which("socat"), reason="socat is not installed")
@pytest.mark.timeout(300)
def test_a_fuzzer_finds_nothing(vmd: Vmd, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    vmd.define("guests: {alice: {memory: 64M, boot: {kernel: /nowhere/vmlinuz}}}")
    (tmp_path / "openapi.json").write_text(json.dumps(finite()))
    with bridge(vmd.socket) as port:
        argv = (sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", f"http://127.0.0.1:{port}")
        bounds = ("--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1", "--checks", CHECKS)
        more = ("--exclude-path-regex", "/console$", "--request-timeout", "30", "--no-color")
        done = subprocess.run((*argv, *bounds, *more), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert vmd.ctl("version").code == 0
