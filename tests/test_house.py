"""The house rules as tests: ``pytest`` is the whole check.

Linters, types and the import contract run as the programs that a person would run; what no program checks
(how long a function is, what a module may be called, what starts with vmctl) is measured here.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = sorted((ROOT / "vmd").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PURE = [path for path in ROOMS if path.parts[len(ROOT.parts) + 1] in {"definition", "plan"}]
EXAMPLES = sorted((ROOT / "config").glob("*.yaml"))

LONGEST_FUNCTION = 45
LONGEST_FILE = 300
MEDIAN_FUNCTION = 9
EMPTY_NAMES = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}

SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
SHELLS |= {"asyncio.create_subprocess_shell", "subprocess_shell"}
IMPURE_CALLS = {"open", "input", "print", "uuid.uuid1", "uuid.uuid4", "uuid.getnode"}
HEAVY = {
    "asyncio",
    "concurrent",
    "dataclasses",
    "email",
    "h11",
    "http",
    "inspect",
    "logging",
    "pathlib",
    "pydantic",
}
HEAVY |= {"qemu", "rich", "ssl", "subprocess", "tempfile", "urllib", "yaml"}
VMCTL_NEEDS = {"vmd", "vmd.cli", "vmd.errors", "vmd.protocol"}

REGISTRIES = "|".join(
    re.escape(".".join(words))
    for words in (
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("snapshot", "debian", "org"),
        ("ftp", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("docker", "io"),
        ("ghcr", "io"),
    )
)


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def where(path: Path, node: ast.stmt | ast.expr) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function of a file with its length in lines, from ``def`` to its last."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{where(path, node)} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Each call of a file with the dotted name it calls; an object's method keeps its own name alone."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            yield node, dotted(node.func)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else node.attr
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize(
    "argv",
    [
        ("ruff", "check", "--no-fix"),
        ("ruff", "format", "--check"),
        ("lint-imports", "--no-logo", "--no-cache"),
        ("mypy",),
    ],
    ids=lambda argv: " ".join(argv[:2]),
)
@pytest.mark.timeout(300)
def test_linter_has_nothing_to_say(argv: tuple[str, ...]) -> None:
    done = run(tool(argv[0]), *argv[1:])
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_is_strict() -> None:
    assert re.search(r"^\[tool\.mypy\]\nstrict = true$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_no_function_is_long() -> None:
    assert [f"{name}: {n}" for path in ROOMS for name, n in functions(path) if n > LONGEST_FUNCTION] == []


def test_functions_are_short() -> None:
    lengths = [n for path in ROOMS for _, n in functions(path)]
    assert statistics.median(lengths) <= MEDIAN_FUNCTION


def test_no_file_is_long() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in ROOMS}
    assert {str(path): n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_modules_are_named_for_what_they_hold() -> None:
    assert [str(path) for path in ROOMS if {path.stem, path.parent.name} & EMPTY_NAMES] == []


def test_there_is_no_shell() -> None:
    found = [
        where(path, call)
        for path in ROOMS + TESTS
        for call, name in calls(path)
        if name in SHELLS or name.rpartition(".")[2] in SHELLS or any(k.arg == "shell" for k in call.keywords)
    ]
    assert found == []


def test_pure_rooms_touch_nothing() -> None:
    assert PURE
    assert [where(path, call) for path in PURE for call, name in calls(path) if name in IMPURE_CALLS] == []


def test_pure_rooms_take_pure_paths() -> None:
    found = [
        where(path, node)
        for path in PURE
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Import) and any(name.name == "pathlib" for name in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "pathlib" and not names_pure_paths(node))
    ]
    assert found == []


def names_pure_paths(node: ast.ImportFrom) -> bool:
    return all(name.name.startswith("Pure") for name in node.names)


def test_vmctl_starts_light() -> None:
    script = "import sys; bare = set(sys.modules); import vmd.cli.__main__; print(*set(sys.modules) - bare)"
    done = run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
    rooms = {name for name in loaded if name.partition(".")[0] == "vmd" and not name.startswith("vmd.cli.")}
    assert rooms <= VMCTL_NEEDS


def test_there_are_examples() -> None:
    assert ROOT / "config" / "alice.yaml" in EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_is_valid(example: Path) -> None:
    done = run(tool("vmctl"), "check", str(example))
    assert done.returncode == 0, done.stderr


def written() -> Iterator[tuple[Path, str]]:
    """Every text file that a person wrote, with what is in it; dotted directories but one hold caches."""
    for path in sorted(ROOT.rglob("*")):
        *above, _ = path.relative_to(ROOT).parts
        hidden = any(name.startswith(".") and name != ".ci" for name in above)
        if hidden or {"__pycache__", "build", "dist"} & set(above) or not path.is_file():
            continue
        try:
            yield path.relative_to(ROOT), path.read_text()
        except UnicodeDecodeError:
            continue


def test_the_tree_names_no_registry() -> None:
    """A mirror is the host's own choice: apt's sources and pip's configuration say it."""
    named = re.compile(REGISTRIES)
    assert [f"{path}: {found[0]}" for path, text in written() if (found := named.search(text))] == []


def test_the_tree_does_not_know_where_it_lies() -> None:
    here = re.compile(rf"(?<![\w./}}~-]){re.escape(str(ROOT))}(?![\w.-])")
    assert [str(path) for path, text in written() if here.search(text)] == []


def test_version_is_in_the_changelog() -> None:
    version = re.search(r'^__version__ = "(.+)"$', (ROOT / "vmd/__init__.py").read_text(), re.MULTILINE)
    assert version
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text()
