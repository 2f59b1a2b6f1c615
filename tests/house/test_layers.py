"""Packages stand on seven floors, and each imports only from floors below its own."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import mssbench

ROOT = Path(mssbench.__file__).parent
# The one list that is kept by hand. A package may import packages of lower rows only, and a file
# may import other files of its own package as long as no circle arises.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "arrays", "registries"),
    ("records", "methods", "problems"),
    ("machine", "results"),
    ("suite", "training", "measure"),
    ("engines", "analysis", "compare", "selftest", "testing"),
    ("run", "ab", "console", "export", "report"),
    ("cli", "pytest_plugin"),
)
# `errors` is below all others of its floor: it imports nothing of ours.
GROUND = "errors"
# They belong to no floor: public names, `python -m mssbench`, and the worker's door.
DOORS = {"__init__", "__main__", "worker"}
# What only reads results, or only writes words about them.
READING = ("records", "results", "analysis", "compare", "console", "export", "report")
ARRAY_LIBRARIES = {"torch", "cupy", "jax"}


@cache
def modules() -> dict[str, Path]:
    """Every module of mssbench by its name, without `mssbench.` and `.__init__`."""
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in sorted(ROOT.rglob("*.py"))
    }
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def floor(package: str) -> int:
    """The floor of a package, counted from 1."""
    for number, packages in enumerate(FLOORS, 1):
        if package in packages:
            return number
    raise AssertionError(f"{package} stands on no floor: give it one in FLOORS")


def package_of(module: str) -> str:
    return module.partition(".")[0]


def imports(module: str) -> Iterator[str]:
    """Modules of mssbench that a module imports, also inside functions, less what types need."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    for node in _statements(tree.body):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == "mssbench":
                yield _module(name.removeprefix("mssbench").removeprefix("."))


def _module(name: str) -> str:
    """The module that a dotted name lies in: `records.cell` of `records.cell.Cell`."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or "__init__"


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Every statement, nested ones as well, but for blocks that only type checkers read."""
    for statement in body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test):
            continue
        yield statement
        for part in (
            statement,
            *getattr(statement, "handlers", ()),
            *getattr(statement, "cases", ()),
        ):
            for field in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(part, field, []))


def test_every_package_has_a_floor_and_every_floor_its_packages() -> None:
    found = {package_of(name) for name in modules()} - DOORS
    assert found == {name for packages in FLOORS for name in packages}


def test_no_package_imports_from_its_own_floor_or_above() -> None:
    wrong = [
        f"{module} imports {name}, which is not below it"
        for module in modules()
        if package_of(module) not in DOORS
        for name in imports(module)
        if package_of(name) not in (package_of(module), "__init__", GROUND)
        and floor(package_of(name)) >= floor(package_of(module))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_ground_imports_nothing_of_ours() -> None:
    assert not list(imports(GROUND))


@pytest.mark.parametrize("package", [name for packages in FLOORS for name in packages])
def test_the_files_of_a_package_import_each_other_without_a_circle(package: str) -> None:
    inside = {name for name in modules() if package_of(name) == package}
    wanted = {name: set(imports(name)) & inside - {name} for name in inside}
    while free := [name for name, needs in wanted.items() if not needs & wanted.keys()]:
        for name in free:
            del wanted[name]
    assert not wanted, f"a circle among {sorted(wanted)}"


def test_methods_import_only_arrays_errors_and_registries() -> None:
    for module in (name for name in modules() if package_of(name) == "methods"):
        others = {package_of(name) for name in imports(module)} - {"methods"}
        assert others <= {"arrays", "errors", "registries"}, module


def test_the_reference_knows_no_method() -> None:
    for module in (name for name in modules() if name.startswith("problems.reference")):
        assert "methods" not in {package_of(name) for name in imports(module)}, module


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a statement loads in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", READING)
def test_packages_that_read_results_load_no_array_library(package: str) -> None:
    inside = [f"mssbench.{name}" for name in modules() if package_of(name) == package]
    assert not loaded_by(f"import {', '.join(inside)}") & ARRAY_LIBRARIES


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("import mssbench; mssbench.load", id="load"),
        pytest.param("import mssbench; mssbench.run", id="the-function-run"),
        pytest.param("import mssbench.cli.main", id="the-command-line"),
        pytest.param("import mssbench.cli.run, mssbench.run.run", id="run"),
        pytest.param("import mssbench.cli.merge, mssbench.run.training_merge", id="merge"),
        pytest.param("import mssbench.engines.worker", id="the-worker-before-its-first-line"),
        pytest.param(
            "import mssbench.cli.listing as c; c.listing('backends', [])", id="list-backends"
        ),
    ],
)
def test_torch_stays_out_until_something_is_measured(statement: str) -> None:
    assert not loaded_by(statement) & ARRAY_LIBRARIES


def test_a_run_starts_without_pandas() -> None:
    modules_of_a_run = "mssbench.run.run, mssbench.engines.local, mssbench.suite.suite"
    assert "pandas" not in loaded_by(f"import {modules_of_a_run}")


def test_importing_mssbench_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "pandas", "rich", "typer"}
    assert not loaded_by("import mssbench") & heavy
    assert not loaded_by("import mssbench; mssbench.run") & heavy


def test_the_house_has_few_doors() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "mssbench"], cwd=ROOT.parent, capture_output=True, text=True
    )
    if tracked.returncode or not tracked.stdout:
        pytest.skip("not a checkout")
    entries = {path.split("/")[1] for path in tracked.stdout.splitlines()}
    assert len(entries) <= 27, sorted(entries)
