"""Imports point down, to floors below a module's own; the read wing imports no arrays."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mssbench

ROOT = Path(mssbench.__file__).parent
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "arrays", "units", "files", "signals", "roundoff", "strict_json"),
    ("records", "registry", "expression", "ranges", "bounds", "problems", "locks", "exact"),
    (
        "environment",
        "rows",
        "reference",
        "singular",
        "memory",
        "clock",
        "provenance",
        "schedules",
        "classify",
    ),
    ("sampling", "noise", "guard", "rotation", "vectors", "judgement", "rules"),
    ("gates", "coupled"),
    (
        "decompose",
        "graphs",
        "methods",
        "arguments",
        "cores",
        "limits",
        "passes",
        "probes",
        "kernels",
    ),
    ("anchors", "counts"),
    ("forward", "plugins", "backward.implicit", "truth", "cost", "samples", "table", "labels"),
    ("backward", "roots", "folder", "pivot", "sweep"),
    ("conclude", "statements", "compare"),
    ("gate", "export"),
    ("github",),
    ("claims",),
    ("applied",),
    ("calls",),
    ("work", "suite", "console", "verdicts", "differences"),
    ("bench",),
    ("measure", "trust", "rivals"),
    ("held", "impostors"),
    ("worker",),
    ("races",),
    ("selftest",),
    ("engines.process",),
    ("engines.local",),
    ("engines.duel", "paired"),
    ("effects",),
    ("outcomes",),
    ("run", "ab"),
    ("progress", "printing"),
    ("commands",),
    ("options",),
    ("cli_gate",),
    ("cli",),
    ("pytest_plugin",),
    ("pytest_cells",),
    ("__main__", "__init__"),
)
# A registry imports what registers with it, when asked to, and by no name it knows.
READ_WING = (
    "errors",
    "units",
    "files",
    "locks",
    "records",
    "rows",
    "noise",
    "limits",
    "passes",
    "samples",
    "folder",
    "expression",
    "table",
    "labels",
    "pivot",
    "conclude",
    "statements",
    "claims",
    "judgement",
    "rules",
    "gates",
    "roundoff",
    "compare",
    "gate",
    "differences",
    "export",
    "github",
    "paired",
    "strict_json",
    "console",
    "verdicts",
    "commands.show",
    "commands.claims",
)
ARRAY_LIBRARIES = {"numpy", "torch", "cupy", "jax"}


def modules() -> dict[str, Path]:
    return {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
        for p in sorted(ROOT.rglob("*.py"))
    }


def floor(module: str) -> int:
    for number, names in reversed(list(enumerate(FLOORS))):
        if module in names:
            return number
    parent = module.rpartition(".")[0]
    assert parent, f"{module} stands on no floor: give it one in FLOORS"
    return floor(parent)


def imports(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, also inside functions; TYPE_CHECKING does not count."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    known = modules()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "mssbench":
            yield from (a.name for a in node.names if a.name in known)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mssbench."):
            parent = (node.module or "").removeprefix("mssbench.")
            children = [f"{parent}.{a.name}" for a in node.names]
            yield from (c if c in known else parent for c in children)
        elif isinstance(node, ast.Import):
            yield from (
                a.name.removeprefix("mssbench.")
                for a in node.names
                if a.name.startswith("mssbench.")
            )


@pytest.mark.parametrize("module", [m for m in modules() if m != "__init__"])
def test_imports_point_down(module: str) -> None:
    package = module.partition(".")[0]
    for name in imports(modules()[module]):
        inside = name.partition(".")[0] == package
        assert inside or floor(name) < floor(module), f"{module} imports {name}, which is not below"


def test_every_floor_name_is_a_module() -> None:
    named = {name for names in FLOORS for name in names} - {"__init__"}
    assert named <= set(modules()), "FLOORS names a module that is gone"


@pytest.mark.parametrize("module", READ_WING)
def test_the_read_wing_names_no_array_library(module: str) -> None:
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        heavy = ARRAY_LIBRARIES if module == "paired" else ARRAY_LIBRARIES | {"scipy"}
        assert not {n.partition(".")[0] for n in names} & heavy


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in sys.modules after a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_torch_stays_out_until_something_is_measured() -> None:
    """One process imports them in turn, and tells after which of them torch is there."""
    statements = (
        "import mssbench; mssbench.load",
        "import mssbench.cli.show",
        "import mssbench.cli.claims",
        "import mssbench.cli.run",
        "import mssbench.cli.listing as c; c.listing('backends', [])",
        "import mssbench.cli.main",
        "import mssbench.worker",  # before its first line
    )
    check = "assert not {'torch', 'cupy'} & set(sys.modules), statement"
    loaded_by(f"for statement in {statements!r}:\n    exec(statement)\n    {check}")


def test_a_run_starts_without_pandas() -> None:
    assert "pandas" not in loaded_by(
        "import mssbench.run.run, mssbench.engines.local, mssbench.suite.suite"
    )


def test_importing_mssbench_imports_nothing_heavy() -> None:
    assert not loaded_by("import mssbench") & {"torch", "numpy", "pandas", "rich", "typer"}
