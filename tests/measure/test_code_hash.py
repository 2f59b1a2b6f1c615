"""The code hash covers whatever makes a row, and nothing else."""

import ast
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from helpers.matrices import ABSENT, Call

import mssbench
from mssbench import problems
from mssbench.errors import Unsupported
from mssbench.measure import code_hash
from mssbench.measure.measure import measure
from mssbench.measure.session import Session, Settings
from mssbench.methods import registry
from mssbench.methods.method import Method
from mssbench.records.cell import Cell
from mssbench.records.policy import Policy

registry.load()
PACKAGE = Path(mssbench.__file__).parent
METHODS = [*registry.known("forward").values(), *registry.known("backward").values()]
FAST = Session(
    Settings(Policy(min_seconds=0, min_samples=1, max_seconds=0.01, warmup_seconds=0, passes=1))
)
WORKER = "mssbench.worker"
each_method = pytest.mark.parametrize(
    "method",
    [
        pytest.param(m, marks=[pytest.mark.slow] if m.name.endswith("_released") else [])
        for m in METHODS
    ],
    ids=lambda m: f"{m.kind}-{m.name}",
)


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Give a module another source for one test."""
    read = code_hash.read
    parsed = code_hash._module
    of_closure = code_hash._of_closure
    edited: dict[str, str] = {}
    modules_of_worker, of_worker = code_hash.closure(WORKER), of_closure(WORKER)

    def change(name: str, source: str) -> None:
        edited.clear()
        edited[name] = source
        code_hash.hash_of.cache_clear()
        of_closure.cache_clear()

    def hashes(name: str) -> frozenset[bytes]:
        """Those of the worker are made again only where a module that it reaches is edited."""
        spared = name == WORKER and not modules_of_worker & edited.keys()
        return of_worker if spared else of_closure(name)

    monkeypatch.setattr(code_hash, "_of_closure", hashes)

    def module(name: str) -> code_hash.Module:
        if name not in edited:
            return parsed(name)
        monkeypatch.setattr(code_hash, "read", lambda _: edited[name])
        found: code_hash.Module = parsed.__wrapped__(name)
        monkeypatch.setattr(code_hash, "read", read)
        return found

    monkeypatch.setattr(code_hash, "_module", module)
    yield change
    code_hash.hash_of.cache_clear()
    of_closure.cache_clear()


def source(name: str) -> str:
    file = code_hash._file(name)
    assert file is not None
    return file.read_text()


def hash_of(*methods: Method) -> str:
    return code_hash.hash_of(frozenset(method.call.__module__ for method in methods))


def modules_of(method: Method) -> set[str]:
    return code_hash.closure(WORKER) | code_hash.closure(method.call.__module__)


def files_of(names: set[str]) -> set[Path]:
    return {file for name in names if (file := code_hash._file(name))}


# ------------------------------------------------------------- what runs is what is hashed


class Ran:
    """Files of mssbench with a function that runs inside the block, in whatever thread."""

    def __enter__(self) -> "Ran":
        self.files: set[Path] = set()
        sys.setprofile(self._note)
        threading.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            self.files.add(Path(frame.f_code.co_filename))


def cell_of(method: Method) -> Cell | None:
    """A small cell on the CPU that measures a method; None where there is no such cell."""
    backwards = ["none", "loewner", "autodiff"]
    forwards = ["eigh", "newton_schulz", "minimax", "svd"]
    pairs = (
        [(method.name, b) for b in backwards]
        if method.kind == "forward"
        else [(f, method.name) for f in forwards]
    )
    for forward, backward in pairs:
        options = registry.lookup("forward", forward)
        function = [*options.functions, *options.other_functions][0]
        try:
            if backward != "none":
                Call(forward, backward, function).pair()
        except Unsupported:
            continue
        return Cell(
            library=next(name for name in ("torch", "numpy") if name in options.libraries),
            forward=forward,
            backward=backward,
            function=function,
            problem=problems.canonical("wishart(ratio=4)"),
            size=max(options.sizes, default=4),
            batch=2,
            iterations=None,
            backward_iterations=None,
            options="",
            precision="float64",
            device="cpu",
            seed=0,
        )
    return None


@pytest.mark.sampled(10, slow=0)
@each_method
def test_whatever_runs_while_a_cell_is_measured_is_in_its_hash(method: Method) -> None:
    cell = cell_of(method)
    if cell is None or "cuda" in method.devices or method.name in ABSENT:
        pytest.skip("it does not run on a CPU")
    measure(cell, FAST)  # what is loaded once is loaded now
    with Ran() as ran:
        result = measure(cell, FAST)
    hashed = files_of(code_hash.closure(WORKER))
    for name, kind in ((cell.forward, "forward"), (cell.backward, "backward")):
        if name != "none":
            hashed |= files_of(modules_of(registry.lookup(kind, name)))  # type: ignore[arg-type]
    assert len(ran.files) > 15, "the profile has seen too little"
    assert ran.files <= hashed
    assert result.code_hash


@pytest.mark.parametrize("text", ["wishart(ratio=2)", "logspec(condition=1e4)|scale(factor=2)"])
def test_the_generators_of_problems_are_in_every_hash(text: str) -> None:
    problems._make.cache_clear()
    with Ran() as ran:
        problems.make(text, 8, 2, 1234)
    assert ran.files <= files_of(code_hash.closure(WORKER))


def test_the_readers_of_tables_are_in_no_hash() -> None:
    """They change no row; a worker imports only the locks of this package."""
    names = {name for name in code_hash.closure(WORKER) if name.startswith("mssbench.results")}
    assert names == {"mssbench.results", "mssbench.results.locks"}


# ------------------------------------------------------------------- what changes the hash


@pytest.mark.sampled(20, slow=0)
@each_method
def test_a_statement_more_in_any_module_behind_a_method_is_other_code(
    method: Method, edit: Callable[[str, str], None]
) -> None:
    before = hash_of(method)
    own = modules_of(method) - code_hash.closure(WORKER)
    assert method.call.__module__ in own
    for name in own:
        edit(name, source(name) + "\nanother = 1\n")
        assert hash_of(method) != before, name


@pytest.mark.sampled(10, slow=0)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if i % 4 == 0 else pytest.mark.exhaustive)
        for i, name in enumerate(sorted(code_hash.closure(WORKER)))
    ],
)
def test_a_statement_more_in_any_module_of_measuring_is_other_code_of_all(
    name: str, edit: Callable[[str, str], None]
) -> None:
    pair = registry.lookup("forward", "eigh"), registry.lookup("backward", "loewner")
    before = hash_of(*pair)
    edit(name, source(name) + "\nanother = 1\n")
    assert hash_of(*pair) != before


def test_modules_that_make_no_row_are_in_no_hash() -> None:
    everything = set.union(*(modules_of(method) for method in METHODS))
    for name in ("cli", "console", "compare", "claims", "suite", "run", "export", "selftest"):
        assert f"mssbench.{name}" not in everything


def test_a_module_that_another_method_uses_is_none_of_this_one() -> None:
    eigh, svd = (registry.lookup("forward", name) for name in ("eigh", "svd"))
    assert "mssbench.methods.forward.svd" not in modules_of(eigh)
    assert "mssbench.methods.forward.eigh" not in modules_of(svd) - code_hash.closure(WORKER)
    assert "mssbench.methods.parallel" in modules_of(registry.lookup("forward", "eigh_parallel"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("def f(x):\n    return x + 1", "def f(x):\n    return x + 2", id="a number"),
        pytest.param("def f(x):\n    return x + 1", "def f(x):\n    return x - 1", id="a sign"),
        pytest.param("def f(x, y):\n    g(x, y)", "def f(x, y):\n    g(y, x)", id="an order"),
        pytest.param("A = 1\nB = 2", "A = 1\nB = 2\nB = 3", id="a second value"),
        pytest.param("A = 'x'", "A = b'x'", id="bytes"),
        pytest.param("A = 1", "A = 1.0", id="a type"),
        pytest.param("x = f(a, *b)", "x = f(a, b)", id="a star"),
        pytest.param("f'{x!r}'", "f'{x!s}'", id="a conversion"),
        pytest.param("def f():\n    yield x", "def f():\n    return x", id="a generator"),
        pytest.param("if a:\n    b()\nelse:\n    c()", "if a:\n    b()\nc()", id="a branch"),
        pytest.param("from m import a\na()", "from m import b as a\na()", id="another import"),
    ],
)
def test_another_meaning_is_another_module(
    before: str, after: str, edit: Callable[[str, str], None]
) -> None:
    first, second = (parsed(text) for text in (before, after))
    assert first != second


def parsed(text: str) -> frozenset[bytes]:
    """The statements of a module with this source."""
    tree = ast.parse(text)
    spelling = code_hash._Spelling("mssbench")
    spelling.read_imports(tree)
    words = (spelling.of(statement) for statement in code_hash._without_docstring(tree.body))
    return frozenset(text.encode() for text in words if text)


# ------------------------------------------------------------------- what does not change it


class _Undocumented(ast.NodeTransformer):
    """Takes every docstring away, and puts another one in the place of some."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            node.body = code_hash._without_docstring(node.body) or [ast.Pass()]
            if len(node.body) % 2:
                node.body.insert(0, ast.Expr(ast.Constant("Another docstring.")))
        return node


@pytest.mark.sampled(30, slow=0)
@pytest.mark.parametrize("name", sorted(set.union(*(modules_of(m) for m in METHODS))))
def test_comments_docstrings_and_format_are_no_code(name: str) -> None:
    text = source(name)
    plain = ast.unparse(ast.fix_missing_locations(_Undocumented().visit(ast.parse(text))))
    assert plain != text
    if "pass" not in plain:  # what was only described has become a statement
        assert parsed(f"# a comment\n{plain}\n\n\n") == parsed(text)


def test_moving_a_function_to_another_module_is_no_other_code() -> None:
    together = "from mssbench import arrays\ndef f(a):\n    return g(arrays.trace(a))\n"
    together += "def g(x):\n    return x\n"
    here = "from mssbench.arrays import trace\nfrom mssbench.records.units import g\n"
    here += "def f(a):\n    return g(trace(a))\n"
    there = "def g(x):\n    return x\n"
    assert parsed(together) == parsed(here) | parsed(there)


def test_an_import_under_another_name_is_the_same_code() -> None:
    assert parsed("from mssbench.records import units as u\nx = u.count(1)") == parsed(
        "from mssbench.records.units import count as c\nx = c(1)"
    )


def test_what_only_types_need_is_no_code() -> None:
    assert parsed("if TYPE_CHECKING:\n    from a import b\nx = 1") == parsed("x = 1")


def test_the_version_of_a_release_is_no_code() -> None:
    assert parsed("__version__ = '1'\n__all__ = ['x']\nx = 1") == parsed("x = 1")


# ----------------------------------------------------------------- data, kernels and plug-ins


@pytest.mark.parametrize("name", ["fused", "jacobi", "fused_tensor_cores"])
def test_another_kernel_is_other_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [code_hash._file(m) for m in modules_of(registry.lookup("forward", name))]
    folder = next(f.parent for f in sources if f and f.name == "source.py")
    kernels = {code_hash._file("mssbench.methods.kernels.source"): tmp_path / "source.py"}
    for file in folder.glob("*.cuh"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    real = code_hash._file
    monkeypatch.setattr(code_hash, "_file", lambda m: kernels.get(real(m), real(m)))
    method = registry.lookup("forward", name)

    before = _fresh_hash(method)
    assert before == _fresh_hash(method)
    eigh = _fresh_hash(registry.lookup("forward", "eigh"))
    (tmp_path / "common.cuh").write_text("// another")
    assert _fresh_hash(method) != before
    assert _fresh_hash(registry.lookup("forward", "eigh")) == eigh


def _fresh_hash(method: Method) -> str:
    code_hash.hash_of.cache_clear()
    code_hash._of_closure.cache_clear()
    return hash_of(method)


def test_the_data_of_problems_is_in_every_hash() -> None:
    beside = {m for m in code_hash.closure(WORKER) if code_hash._module(m).reads_beside}
    assert "mssbench.problems.stored" in beside
    data = (PACKAGE / "problems" / "data" / "convfeat_64x49.npz").read_bytes()
    digest = code_hash.hashlib.sha256(data).digest()
    assert digest in code_hash._of_closure(WORKER)


def test_the_table_of_auto_is_in_no_hash() -> None:
    """It is made of measured rows, so that writing it must not make them stale."""
    table = (PACKAGE / "methods" / "auto.json").read_bytes()
    digest = code_hash.hashlib.sha256(table).digest()
    assert digest not in code_hash._of_closure(WORKER)
    assert digest not in code_hash._data_beside("mssbench.methods.auto")


def test_the_suites_that_only_a_wheel_has_are_in_no_hash() -> None:
    assert code_hash._data_beside("mssbench.worker") == set()


def test_files_beside_a_users_own_file_count_as_far_as_it_imports_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("from helper_of_mine import x\ndef f(): return x\n")
    (tmp_path / "helper_of_mine.py").write_text("x = 1\n")
    (tmp_path / "unused_of_mine.py").write_text("y = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = importlib.util.spec_from_file_location("mssbench_also_mine", tmp_path / "mine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mssbench_also_mine", module)
    spec.loader.exec_module(module)
    try:
        assert code_hash.closure("mssbench_also_mine") == {"mssbench_also_mine", "helper_of_mine"}
    finally:
        sys.modules.pop("helper_of_mine", None)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        pytest.param("marked_of_mine", b"\xef\xbb\xbfX = '\xc3\xa9'\n", id="a mark of UTF-8"),
        pytest.param("latin_of_mine", b"# coding: latin-1\nX = '\xe9'\n", id="latin-1"),
        pytest.param("lines_of_mine", b"# from elsewhere\r\nX = '\xc3\xa9'\r\n", id="CRLF"),
    ],
)
def test_the_encoding_of_a_file_is_no_code(
    name: str, source: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain_of_mine.py").write_bytes("X = 'é'\n".encode())
    (tmp_path / "other_of_mine.py").write_bytes(b"X = 'e'\n")
    (tmp_path / f"{name}.py").write_bytes(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    plain, other, encoded = (
        code_hash.hash_of(frozenset([each])) for each in ("plain_of_mine", "other_of_mine", name)
    )
    assert encoded == plain != other


def test_the_modules_of_a_plug_in_package_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "plugged_in"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "method.py").write_text("from .core import x\nfrom mssbench.records import units\n")
    (package / "core.py").write_text("from . import deep\nx = 1\n")
    (package / "deep.py").write_text("import numpy\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code_hash.forget()
    assert code_hash.closure("plugged_in.method") == {
        "mssbench",
        "mssbench.records",
        "mssbench.records.units",
        "plugged_in",
        "plugged_in.method",
        "plugged_in.core",
        "plugged_in.deep",
    }
    code_hash.forget()


def test_of_an_installed_plug_in_all_modules_of_its_distribution_count_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One may have a second top-level module; the release of another package is in its facts."""
    place = tmp_path / "site-packages"
    for distribution, names in (
        ("mine", ("first_of_dist", "second_of_dist")),
        ("theirs", ("third_of_dist",)),
    ):
        info = place / f"{distribution}_of_dist-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}-of-dist\nVersion: 1.0\n"
        )
        (info / "top_level.txt").write_text("\n".join(names) + "\n")
        (info / "RECORD").write_text("".join(f"{name}.py,,\n" for name in names))
    (place / "first_of_dist.py").write_text("import numpy, second_of_dist, third_of_dist\n")
    (place / "second_of_dist.py").write_text("x = 1\n")
    (place / "third_of_dist.py").write_text("import second_of_dist\n")
    monkeypatch.syspath_prepend(str(place))
    code_hash.forget()
    try:
        found = {name: code_hash.closure(f"{name}_of_dist") for name in ("first", "third")}
    finally:
        code_hash.forget()
    assert found == {
        "first": {"first_of_dist", "second_of_dist"},
        "third": {"third_of_dist"},
    }
