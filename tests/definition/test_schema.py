import json
import subprocess
import sys
from pathlib import Path

import pytest

from vmd.definition.guest import Guest
from vmd.definition.schema import DIALECT, json_schema

CHECK = str(Path(sys.executable).with_name("check-jsonschema"))
FORM = sorted((Path(__file__).parent / "faults" / "form").glob("*.yaml"))
EXAMPLES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "vmd.schema.json"
    path.write_text(json.dumps(json_schema()))
    return path


def check(*argv: object) -> subprocess.CompletedProcess[str]:
    words = tuple(str(word) for word in argv)
    return subprocess.run((CHECK, *words), capture_output=True, text=True, check=False)


def test_it_is_a_schema(schema: Path) -> None:
    done = check("--check-metaschema", schema)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(schema.read_text())["$schema"] == DIALECT


def test_every_example_is_right(schema: Path) -> None:
    done = check("--schemafile", schema, *EXAMPLES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_broken_in_form_is_broken_by_the_schema(schema: Path) -> None:
    done = check("--schemafile", schema, "--output-format", "json", *FORM)
    broken = {Path(error["filename"]).name for error in json.loads(done.stdout)["errors"]}
    assert broken == {path.name for path in FORM}


def test_each_broken_guest_is_broken_by_the_schema(schema: Path) -> None:
    done = check("--schemafile", schema, "--output-format", "json", FORM[0].with_name("words.yaml"))
    paths = {error["path"] for error in json.loads(done.stdout)["errors"]}
    guests = {path.split(".")[2] for path in paths if path.startswith("$.guests.")}
    text = FORM[0].with_name("words.yaml").read_text().splitlines()[1:]
    assert guests == {line.split(":")[0].strip() for line in text}


def test_every_key_is_described() -> None:
    for name, model in json_schema()["$defs"].items():
        written = model if "properties" in model else model["anyOf"][1]
        for key, field in written["properties"].items():
            assert field["description"].endswith("."), f"{name}.{key}"


def test_a_guest_is_what_may_be_written() -> None:
    guest = json_schema()["$defs"]["Guest"]
    assert set(guest["properties"]) == set(Guest.model_fields) - {"name"}
    assert guest["required"] == ["memory"]
    assert guest["additionalProperties"] is False
