"""The rules of the house: who may import whom, and how large a module may grow."""

import ast
import subprocess
import sys
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("churn_assets", "churn_serving")
MAY_IMPORT_DAGSTER = {"assets.py", "checks.py", "resources.py", "partitions.py", "definitions.py", "cli.py"}
NOT_IN_THE_SERVICE = {"dagster", "churn_assets", "evidently", "pandas", "sklearn", "pyarrow"}
LAYERS = {
    "commands": 6,
    "readiness": 5,
    "automation": 4,
    "upkeep": 3,
    "scoring": 3,
    "monitoring": 3,
    "training": 3,
    "features": 2,
    "ingest": 1,
}
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "util.py", "helper.py", "common.py", "misc.py", "manager.py"}


@dataclass(frozen=True)
class Import:
    """One imported name; `hint` if only type checkers follow it, `lazy` if it happens inside a function."""

    name: str
    hint: bool
    lazy: bool


class Imports(ast.NodeVisitor):
    """Collects the imports of a module."""

    def __init__(self):
        self.found = []
        self._hint = self._lazy = False

    def visit_If(self, node):
        before = self._hint
        self._hint = before or "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in node.body:
            self.visit(inner)
        self._hint = before
        for inner in node.orelse:
            self.visit(inner)

    def visit_FunctionDef(self, node):
        before, self._lazy = self._lazy, True
        self.generic_visit(node)
        self._lazy = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Import(self, node):
        self.found += [Import(alias.name, self._hint, self._lazy) for alias in node.names]

    def visit_ImportFrom(self, node):
        assert node.level == 0, "imports are absolute here"
        for alias in node.names:
            self.found.append(Import(f"{node.module}.{alias.name}", self._hint, self._lazy))


def imports_of(path):
    visitor = Imports()
    visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
    return visitor.found


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
IMPORTS = {name: imports_of(path) for name, path in MODULES.items()}


def module_of(name):
    """The module of ours that an imported name lives in, or None."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def relative(path):
    return path.relative_to(ROOT).as_posix()


def test_there_is_a_house():
    assert {"churn_assets.ingest.files", "churn_serving.atomic"} <= MODULES.keys()
    assert any(found.name == "dagster" for found in IMPORTS["churn_assets.resources"])


def test_only_the_edges_import_dagster():
    found = {
        relative(MODULES[name])
        for name, imports in IMPORTS.items()
        if any(entry.name.split(".")[0].startswith("dagster") for entry in imports)
    }
    inside = {
        path for path in found if Path(path).name not in MAY_IMPORT_DAGSTER and "automation" not in Path(path).parts
    }
    assert not inside


def test_the_service_names_nothing_of_the_pipeline():
    assert {
        (name, entry.name)
        for name, imports in IMPORTS.items()
        for entry in imports
        if name.startswith("churn_serving") and entry.name.split(".")[0] in NOT_IN_THE_SERVICE
    } == set()


def test_importing_the_service_loads_nothing_of_the_pipeline():
    names = [name for name in MODULES if name.startswith("churn_serving") and not name.endswith("__main__")]
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted({NOT_IN_THE_SERVICE!r} & {{name.split('.')[0] for name in sys.modules}}))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def test_dependencies_point_down():
    up = []
    for name, imports in IMPORTS.items():
        layer = LAYERS.get(name.split(".")[1] if "." in name else "")
        for entry in imports:
            parts = entry.name.split(".")
            other = LAYERS.get(parts[1]) if parts[0] == "churn_assets" and len(parts) > 1 else None
            if layer and other and other > layer:
                up.append((name, entry.name))
    assert up == []


@pytest.mark.parametrize("name", ["settings", "layout", "engine"])
def test_the_ground_stands_on_nothing_above_it(name):
    above = {f"churn_assets.{layer}" for layer in LAYERS}
    assert not [entry for entry in IMPORTS[f"churn_assets.{name}"] if ".".join(entry.name.split(".")[:2]) in above]


def test_no_module_imports_itself_in_a_circle():
    graph = {
        name: {other for entry in imports if not entry.hint and (other := module_of(entry.name)) and other != name}
        for name, imports in IMPORTS.items()
    }
    TopologicalSorter(graph).prepare()


def test_no_module_is_longer_than_a_few_pages():
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values()}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_every_module_says_what_it_is_and_is_named_for_it():
    assert [relative(path) for path in MODULES.values() if path.name in FORBIDDEN_NAMES] == []
    silent = [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []
