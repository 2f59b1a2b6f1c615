"""Compute the hash of the code that a row of results depends on.

A row with another hash than that of the present code is measured again. The code of a row is that
of its methods, and everything that a worker process runs to measure them. The hash covers both: the
modules that the methods' own modules and the worker import, and the modules that those import, and
so on. This import closure includes modules of mssbench, modules of the distribution of a plug-in,
and modules that are not installed, such as helpers beside a user's own file. It is found in the
source, without running it. An installed package counts by its release if user code imports it or
if a method declares that it needs it. In the imports of user code, torch, numpy, scipy, cupy and
triton do not count: their releases are part of the environment, which is another column of the row.

Each module counts as a syntax tree without docstrings, comments and import lines, and the hash is
taken over its top-level statements, sorted by their content. So it changes with every statement
that could change a result, and it does not change when a file is reformatted, renamed or split.
"""

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from mssbench import problems
from mssbench.methods.registry import methods_of
from mssbench.records.cell import Cell

_PACKAGE = "mssbench"
# All code that measures a cell runs in a worker process, so its imports lead to all of it.
_WORKER = f"{_PACKAGE}.worker"
# The table of sqrtm(a, forward="auto"), see methods/auto.py. No cell is measured with "auto".
_MADE_OF_ROWS = "auto.json"
# Parts of a syntax tree that say nothing about what the code does.
_SILENT = frozenset({"ctx", "kind", "type_comment"})
# Names whose presence says that a module reads files that lie beside it.
_READS_BESIDE = frozenset({"__file__", "files"})
# Folders that package managers install into.
_INSTALLED = frozenset({"site-packages", "dist-packages"})
# Packages whose releases are part of the environment of a row, and so not of its hash.
_IN_ENVIRONMENT = frozenset({"mssbench", "torch", "numpy", "scipy", "cupy", "triton"})


class Module(NamedTuple):
    """What the code hash of a row takes from one Python module: its statements and its imports."""

    statements: frozenset[bytes]  # the hash of each top-level statement
    imports: frozenset[str]  # names that may be modules, as `package.module`
    reads_beside: bool  # whether it reads files of its own folder


def code_hash(cell: Cell) -> str:
    """Return the hash of the code that a cell runs and that measures it, as 12 hex digits.

    The code of the cell is that of its methods and its problem.
    Raises NotInstalled where a method or the problem belongs to a plug-in that is missing.
    """
    methods = [method for method in methods_of(cell.forward, cell.backward) if method is not None]
    functions = [method.call for method in methods] + problems.functions_of(cell.problem)
    # A registry may have wrapped a function: the module that defines the original counts.
    modules = frozenset(inspect.unwrap(function).__module__ for function in functions)
    packages = frozenset(method.package.partition(".")[0] for method in methods) - {""}
    return hash_of(modules, packages)


@cache
def hash_of(modules: frozenset[str], packages: frozenset[str] = frozenset()) -> str:
    """Return the hash of the code of some modules and of the measuring code, 12 hex digits.

    packages: installed packages that the methods declare to need. Their names and releases are
    hashed, because their code is not read.
    """
    pieces = set(_of_closure(_WORKER))
    for module in modules:
        pieces |= _of_closure(module)
    pieces |= {_release(package).encode() for package in packages}
    return hashlib.sha256(b"".join(sorted(pieces))).hexdigest()[:12]


def closure(name: str) -> set[str]:
    """Return the names of the module `name` and of all that it imports, directly or indirectly.

    Modules of other packages are left out: the row's environment has their versions.
    """
    family = {_PACKAGE, *_distributed_with(name.partition(".")[0])}
    reached: set[str] = set()
    waiting = [name]

    while waiting:
        module = waiting.pop()
        top = module.partition(".")[0]
        if module in reached or not (top in family or _is_own(top)) or _file(module) is None:
            continue
        reached.add(module)
        waiting += _module(module).imports
        # Importing a module runs the __init__ of each package that it lies in.
        waiting += _parents(module)
    return reached


@cache
def _of_closure(name: str) -> frozenset[bytes]:
    """Return the hashes of all code of a module and of the modules in its import closure.

    They are the hashes of top-level statements, of data files beside the modules that read such
    files, and of the releases of installed packages that user code among the modules imports.
    """
    pieces: set[bytes] = set()
    reached = closure(name)
    for module in reached:
        pieces |= _module(module).statements
        if _module(module).reads_beside:
            pieces |= _data_beside(module)
    return frozenset(pieces | _releases(reached))


def _releases(modules: set[str]) -> set[bytes]:
    """Return the releases of the installed packages that user code among these modules imports."""
    ours = {module for module in modules if module.partition(".")[0] != _PACKAGE}
    imported = {name.partition(".")[0] for module in ours for name in _module(module).imports}
    known = {name.partition(".")[0] for name in modules} | _IN_ENVIRONMENT | {""}

    foreign = imported - known - sys.stdlib_module_names
    return {_release(name).encode() for name in foreign} - {b""}


def _distributed_with(top: str) -> set[str]:
    """Return the top-level modules of the distribution that installed the module `top`."""
    if top == _PACKAGE or _is_own(top):
        return {top}
    owners = set(_distributions().get(top, ()))
    return {top} | {name for name, of in _distributions().items() if owners & set(of)}


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


@cache
def _is_own(top: str) -> bool:
    """Whether a top-level module is a user's own code, neither of Python nor installed."""
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return False
    place = _folder(top) or _file(top)
    return place is not None and not _INSTALLED & set(place.parts)


def _parents(module: str) -> Iterator[str]:
    """Yield the packages around a module: `a.b` and `a` of `a.b.c`."""
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _file(module: str) -> Path | None:
    """Return the source file of a module, or None where no such module exists."""
    top, *rest = module.split(".")
    if not (folder := _folder(top)):
        # It is a single file, perhaps one with a user's own methods, which was loaded by its path.
        path = getattr(sys.modules.get(module), "__file__", None) or _origin(top)
        return Path(path) if path and not rest and path.endswith(".py") else None

    return _file_below(folder, tuple(rest))


@cache
def _file_below(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the file of a module in a package.

    The result is cached, since every module that imports this one needs it.
    """
    stem = folder.joinpath(*names)
    for path in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")):
        if path.is_file():
            return path
    return None


def _spec(top: str) -> ModuleSpec | None:
    """Return the import specification of a top-level module, or None if it has none."""
    try:
        return find_spec(top)
    except (ValueError, ImportError):  # `__main__` has no spec
        return None


def _origin(top: str) -> str | None:
    """Return the path from which a module that is a single file is imported, or None."""
    spec = _spec(top)
    return spec.origin if spec else None


@cache
def _folder(top: str) -> Path | None:
    """Return the folder of a top-level package, or None for a single module."""
    spec = _spec(top)
    places = (spec and spec.submodule_search_locations) or ()
    return next((Path(place) for place in places), None)


def read(file: Path) -> bytes:
    """Return the source of a file as bytes, since its first lines may declare another encoding."""
    return file.read_bytes()


@cache
def _module(name: str) -> Module:
    """Parse one module."""
    file = _file(name)
    assert file is not None
    tree = ast.parse(read(file))

    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    spelling = _Spelling(package)
    spelling.read_imports(tree)

    statements = {
        hashlib.sha256(text.encode()).digest()
        for statement in _without_docstring(tree.body)
        if (text := spelling.of(statement))
    }

    return Module(frozenset(statements), frozenset(spelling.imports), spelling.reads_beside)


class _Spelling:
    """Spells statements of one module as text: the same text for the same meaning.

    `ast.dump` does not serve, as its text depends on the version of Python. An imported name is
    spelled by the name that it has in its own module: `norms.trace` and `trace` are the same
    function.
    """

    def __init__(self, package: str) -> None:
        self.imports: set[str] = set()
        self.reads_beside = False
        self._package = package
        self._modules: set[str] = set()  # local names that stand for modules of this package
        self._renamed: dict[str, str] = {}  # local name -> the name in the module it comes from

    def read_imports(self, tree: ast.Module) -> None:
        """Note what the module imports, also inside functions.

        Imports under `if TYPE_CHECKING:` do not count.
        """
        waiting: list[ast.stmt] = list(tree.body)

        while waiting:
            statement = waiting.pop()
            if isinstance(statement, ast.Import):
                self.imports |= {alias.name for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom):
                self._read_import_from(statement)
            elif not _only_for_types(statement):
                for field in ("body", "orelse", "finalbody"):
                    waiting += getattr(statement, field, [])
                for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
                    waiting += part.body

    def _read_import_from(self, statement: ast.ImportFrom) -> None:
        source = statement.module or ""
        if statement.level:
            around = self._package.split(".")[: -(statement.level - 1) or None]
            source = ".".join([*around, *filter(None, [source])])

        self.imports.add(source)
        for alias in statement.names:
            whole, local = f"{source}.{alias.name}", alias.asname or alias.name
            self.imports.add(whole)

            if _file(whole) is not None:
                self._modules.add(local)
            elif local != alias.name:
                self._renamed[local] = alias.name

    def of(self, statement: ast.stmt) -> str:
        """Return the text of a statement; it is empty for one that no result depends on.

        Those are imports, assignments to `__all__` and `__version__`, and `if TYPE_CHECKING:`.
        """
        if _only_for_types(statement) or _describes(statement):
            return ""
        words: list[str] = []
        self._add(statement, words)
        return " ".join(words)

    def _add(self, node: ast.AST, words: list[str]) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            return

        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in self._modules:
            words += ["Name", node.attr]
            return

        if isinstance(node, ast.Name):
            self.reads_beside |= node.id in _READS_BESIDE
            words += ["Name", self._renamed.get(node.id, node.id)]
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self._note_module(node.value)

        words.append(type(node).__name__)
        for name, value in ast.iter_fields(node):
            if name not in _SILENT:
                self._add_field(node, name, value, words)
        words.append(";")

    def _add_field(self, node: ast.AST, name: str, value: object, words: list[str]) -> None:
        if value is None or value == []:  # newer versions of Python add fields that are empty
            return

        words.append(name)
        if isinstance(value, list):
            if name == "body" and isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            ):
                value = _without_docstring(value)
            for item in value:
                if isinstance(item, ast.AST):
                    self._add(item, words)
                else:
                    words.append(repr(item))
            words.append(",")

        elif isinstance(value, ast.AST):
            self._add(value, words)
        else:
            words.append(repr(value))

    def _note_module(self, text: str) -> None:
        """Treat a string such as "mssbench.arrays" in the code as an import of the module it names.

        The code may import that module by its name.
        """
        top, *rest = text.split(".")
        if top == _PACKAGE and rest and all(part.isidentifier() for part in rest):
            self.imports.add(text)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a body without its docstring."""
    first = getattr(body[0], "value", None) if body else None
    described = isinstance(first, ast.Constant) and isinstance(first.value, str)
    return body[1:] if described and isinstance(body[0], ast.Expr) else body


def _only_for_types(statement: ast.stmt) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`, which never runs."""
    test = getattr(statement, "test", None)
    return isinstance(statement, ast.If) and getattr(test, "id", "") == "TYPE_CHECKING"


def _describes(statement: ast.stmt) -> bool:
    """Whether a statement sets `__all__` or `__version__`, which no result depends on."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(getattr(target, "id", "") in ("__all__", "__version__") for target in targets)


def _data_beside(module: str) -> set[bytes]:
    """Return the hashes of the non-Python files in a module's folder, such as kernels and data.

    The top folder of mssbench is excluded, because an installed wheel has its suites there and a
    checkout has not. The folder of a single file is excluded as well, because it may be a home
    directory. So is `_MADE_OF_ROWS`: it changes no row, and is written anew from every renewed run,
    whose rows would then count as made by other code.
    """
    file = _file(module)
    assert file is not None

    folder = _folder(module.partition(".")[0])
    if folder is None or file.parent == _folder(_PACKAGE):
        return set()

    return {
        hashlib.sha256(path.read_bytes()).digest()
        for path in file.parent.rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc", ".typed")
        and path.name != _MADE_OF_ROWS
    }


def _release(package: str) -> str:
    """Return name and version of the distribution of a package: `POT 0.9.7` for `ot`."""
    names = sorted(set(_distributions().get(package, ())))
    return ", ".join(f"{name} {version(name)}" for name in names)


def forget() -> None:
    """Clear the caches, so that every file is read again. Used by tests that change sources."""
    for cached in (
        hash_of,
        _of_closure,
        _folder,
        _file_below,
        _module,
        _is_own,
        _distributions,
    ):
        cached.cache_clear()
