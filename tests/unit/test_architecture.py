# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that every line of code is in its room, by reading the source."""

import ast
import functools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("pipeline", "components", "trainer", "serving")
MAY_IMPORT = {
    "pipeline": {"pipeline", "components", "trainer", "serving"},
    "components": {"components", "trainer", "serving"},
    "trainer": {"trainer", "serving"},
    # It must start in seconds and run in a small image.
    "serving": {"serving"},
}
TFX_FAMILY = {
    "apache_beam",
    "kfp",
    "ml_metadata",
    "tensorflow_data_validation",
    "tensorflow_model_analysis",
    "tensorflow_transform",
    "tfx",
    "tfx_bsl",
}
# Beside these: what only trains, tunes or draws.
NOT_FOR_SERVING = TFX_FAMILY | {
    "implicit",
    "matplotlib",
    "optuna",
    "tensorflow_datasets",
    "tensorflow_recommenders",
}
PROCESS = Path("serving/process.py")
HEADER = (
    "# Copyright 2026 The Shortlist Authors",
    "# SPDX-License-Identifier: Apache-2.0",
)
# Spelled in two parts, so that this file passes its own test.
HOSTS = ("pypi" + ".org", "python" + "hosted.org", "registry.npm" + "js.org")
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(?:root|work|tmp/boot)/")


@functools.cache
def repository_files() -> tuple[Path, ...]:
    """Returns the files that git tracks or would, relative to the root.

    In a copy without git: all but those in hidden folders, runs/ and data/.
    """
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True)
    paths = [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]
    if listed.returncode:
        everything = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        paths = [p for p in everything if not re.match(r"\.|runs$|data$", p.parts[0])]
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


def python_files(*folders: str) -> list[Path]:
    """Returns the repository's Python files, of these folders only if any are given."""
    return [
        path
        for path in repository_files()
        if path.suffix == ".py"
        and (not folders or any(path.is_relative_to(folder) for folder in folders))
    ]


@functools.cache
def tree(path: Path) -> ast.Module:
    """Returns the parsed file."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Yields the full names of the modules that a file imports, wherever in it."""
    package = path.parent.parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def roots(path: Path) -> set[str]:
    """Returns the top-level packages that a file imports."""
    return {name.partition(".")[0] for name in imports(path)}


def violations(names: set[str], *folders: str) -> list[str]:
    """Returns the files of folders that import one of these top-level packages."""
    return [
        f"{path} imports {', '.join(sorted(found))}"
        for path in python_files(*folders)
        if (found := roots(path) & names)
    ]


def test_rooms_are_seen() -> None:
    assert all(python_files(room) for room in ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_the_rooms_below_it(room: str) -> None:
    assert violations(set(ROOMS) - MAY_IMPORT[room], room) == []


def test_serving_imports_nothing_of_tfx() -> None:
    assert violations(TFX_FAMILY, "serving") == []


def test_tests_that_need_no_tfx_import_nothing_of_it() -> None:
    assert violations(TFX_FAMILY, "tests/unit", "tests/serving") == []


def test_no_room_imports_the_tests_or_the_benchmarks() -> None:
    assert violations({"tests", "benchmarks"}, *ROOMS) == []


def test_no_pickle() -> None:
    assert violations({"pickle", "cloudpickle", "dill", "joblib"}, *ROOMS) == []


def test_server_loads_nothing_that_it_has_no_use_for(run_python) -> None:
    code = "import sys, serving.server.run; print(*sys.modules)"
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "tensorflow" in loaded
    assert not loaded & (NOT_FOR_SERVING | set(ROOMS) - {"serving"})


def test_every_folder_of_a_room_is_a_package() -> None:
    folders = {path.parent for path in python_files(*ROOMS)}
    missing = [str(f) for f in folders if not (ROOT / f / "__init__.py").is_file()]
    assert sorted(missing) == []


def _environment_uses(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the places below a node that name the process's environment."""
    for below in ast.walk(node):
        named = isinstance(below, ast.Attribute) and below.attr in {
            "environ",
            "getenv",
            "putenv",
            "unsetenv",
        }
        if named and isinstance(below.value, ast.Name) and below.value.id == "os":
            yield below


def _runs_on_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yields the parts of a module that are run when it is imported."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _runs_on_import(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from [*node.decorator_list, *node.args.defaults]
        else:
            yield node


def _writes_environment(node: ast.AST) -> bool:
    """Tells whether a node changes os.environ."""
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return any(use is node.value for use in _environment_uses(node))
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    if node.func.attr in {"putenv", "unsetenv"}:
        return any(_environment_uses(node.func))
    changes = {"clear", "pop", "popitem", "setdefault", "update"}
    return node.func.attr in changes and any(_environment_uses(node.func.value))


def writers(path: Path) -> list[int]:
    """Returns the lines on which a file changes the environment."""
    nodes = ast.walk(tree(path))
    return [getattr(node, "lineno", 0) for node in nodes if _writes_environment(node)]


def readers_on_import(path: Path) -> list[int]:
    """Returns the lines on which a file names the environment when imported."""
    uses = (
        u for node in _runs_on_import(tree(path).body) for u in _environment_uses(node)
    )
    return [getattr(use, "lineno", 0) for use in uses]


def test_environment_is_set_in_one_place() -> None:
    others = [path for path in python_files(*ROOMS) if path != PROCESS]
    assert {str(path): found for path in others if (found := writers(path))} == {}


def test_no_module_reads_the_environment_when_imported() -> None:
    others = [path for path in python_files(*ROOMS) if path != PROCESS]
    found = {str(path): lines for path in others if (lines := readers_on_import(path))}
    assert found == {}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a.b", ["a.b"]),
        ("def f():\n    from a.b import c as d", ["a.b.c"]),
        ("if True:\n    import a, b", ["a", "b"]),
        ("from . import a", ["room.part.a"]),
        ("from ..other import a", ["room.other.a"]),
    ],
)
def test_imports_are_seen_wherever_they_stand(
    source: str, names: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = Path("room/part/module.py")
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(source)
    tree.cache_clear()
    assert list(imports(path)) == names


@pytest.mark.parametrize(
    ("source", "written", "read"),
    [
        ("import os\nos.environ['A'] = 'b'", [2], [2]),
        ("import os\nX = os.getenv('A')", [], [2]),
        ("import os\ndef f(x=os.environ):\n    pass", [], [2]),
        ("import os\ndef f():\n    return os.environ['A']", [], []),
        ("import os\ndef f():\n    os.environ.setdefault('A', 'b')", [3], []),
        ("import os\ndef f():\n    del os.environ['A']", [3], []),
        ("import os\nclass A:\n    b = os.environ.get('A')", [], [3]),
        ("import os\ndef f():\n    os.putenv('A', 'b')", [3], []),
    ],
)
def test_uses_of_the_environment_are_seen(
    source: str, written: list[int], read: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert writers(path) == written
    assert readers_on_import(path) == read


def test_tfx_component_functions_keep_their_annotations() -> None:
    # TFX reads them at run time; the future import turns them into strings.
    broken = [
        str(path)
        for path in python_files(*ROOMS)
        if "__future__.annotations" in imports(path)
        and any(name.endswith("decorators.component") for name in imports(path))
    ]
    assert broken == []


@pytest.mark.parametrize("path", python_files(), ids=str)
def test_python_file_has_the_licence_header_and_a_docstring(path: Path) -> None:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    assert tuple(lines[:2]) == HEADER
    assert ast.get_docstring(tree(path)), "no module docstring"


def test_no_registry_host_and_no_path_of_a_machine() -> None:
    found = []
    for path in repository_files():
        content = (ROOT / path).read_bytes()
        if b"\0" in content:
            continue
        text = content.decode("utf-8")
        named = [host for host in HOSTS if host in text]
        named += [match[0] for match in MACHINE_PATHS.finditer(text)]
        found += [f"{path}: {name}" for name in named]
    assert found == []
