"""`Registry`, which finds methods and problems by name, and the loading of user files.

An entry is built into mssbench, registered by a user's file (`--also`), or offered by a plug-in. A
plug-in is an installed package with an entry point in the group `mssbench.<kind>`. The entry point
has the name of the method or problem, so that the package is imported only when a suite, a call or
a list asks for that name.
"""

import hashlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Generic, Protocol, TypeVar

from mssbench.errors import NotInstalled, RegistryError, UnknownName, unknown

# The types of values that a suite file can contain, and therefore of the parameters of methods and
# problems.
TYPES_OF_VALUES = (bool, int, float, str)
_ALSO = "mssbench_also_"  # the beginning of the module names of users' files


class Named(Protocol):
    """An entry of a registry: an object with a name and a function."""

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        ...

    @property
    def call(self) -> Callable[..., object]:
        """The function that was registered."""
        ...


Thing = TypeVar("Thing", bound=Named)


class Registry(Generic[Thing]):
    """All entries of one kind by name, for example all forward methods.

    kind: what messages call an entry; plug-ins offer theirs in the group `mssbench.<kind>`.
    load_built_in: imports the modules of mssbench that register entries of this kind. It is called
    before each look-up, and must be cheap when it is called again.
    """

    def __init__(self, kind: str, load_built_in: Callable[[], None]) -> None:
        self.kind = kind
        self._load_built_in = load_built_in
        self._things: dict[str, Thing] = {}
        self._of_plugins: dict[str, Thing] = {}

    def add(self, thing: Thing) -> None:
        """Register an entry. Raises RegistryError if another module has registered its name."""
        taken = self._things.get(thing.name)
        if taken is not None and taken.call.__module__ != thing.call.__module__:
            raise RegistryError(
                f"{self.kind} {thing.name!r} is registered twice: by {_registrant(taken.call)} and "
                f"by {_registrant(thing.call)}. {_remedy(taken.call, thing.call)}"
            )
        self._things[thing.name] = thing

    def lookup(self, name: str) -> Thing:
        """Return the entry called `name`; import the plug-in that offers it if necessary.

        Raises UnknownName if there is no such entry, RegistryError if two packages offer the name,
        and NotInstalled if the plug-in cannot be imported, for any reason.
        """
        self._load_built_in()
        if name not in self._things:
            self._load_plugin(name)
        return self._things[name]

    def known(self) -> dict[str, Thing]:
        """Return all entries registered so far: built-in, from files, and of imported plug-ins."""
        self._load_built_in()
        return dict(sorted(self._things.items()))

    def names(self) -> list[str]:
        """Return every name that `lookup` accepts, without importing plug-ins."""
        self._load_built_in()
        return sorted({*self._things, *self._plugins().names})

    def load_plugins(self) -> dict[str, str]:
        """Import every plug-in. Return, by name, why a plug-in could not be imported."""
        self._load_built_in()

        failures = {}
        for name in sorted(self._plugins().names):
            try:
                self._load_plugin(name)
            except (NotInstalled, RegistryError) as error:
                failures[name] = str(error)
        return failures

    @contextmanager
    def temporarily(self) -> Iterator[None]:
        """Return a context manager that removes at its end what was registered inside it.

        The entries of plug-ins that were imported inside stay, because a module registers its
        entries only when it is imported for the first time.
        """
        self._load_built_in()
        before = dict(self._things)
        try:
            yield
        finally:
            self._things.clear()
            self._things.update(before | self._of_plugins)

    def _plugins(self) -> EntryPoints:
        return entry_points(group=f"mssbench.{self.kind}")

    def _load_plugin(self, name: str) -> None:
        """Import the plug-in that offers `name`; an error names the package it comes from."""
        offers = self._plugins().select(name=name)
        if not offers:
            raise UnknownName(unknown(self.kind, name, self.names()))

        owners = [f"{p.dist.name} {p.dist.version}" if p.dist else p.value for p in offers]
        if len(owners) > 1:
            raise RegistryError(
                f"{self.kind} {name!r} is offered twice: by {' and by '.join(owners)}."
            )

        (plugin,), who = offers, f"{self.kind} {name!r} of {owners[0]}"
        before = set(self._things)
        try:
            plugin.load()
        except BaseException as error:  # a foreign module may raise any exception, or exit
            if isinstance(error, ModuleNotFoundError) and error.name:
                package = error.name.partition(".")[0]
                raise NotInstalled(f"{who} needs {package}: pip install {package}") from error
            reason = f"{type(error).__name__}: {error}"
            raise NotInstalled(f"{who} cannot be imported: {reason}") from error
        self._of_plugins |= {x: self._things[x] for x in self._things.keys() - before}
        if name not in self._things:
            raise NotInstalled(
                f"{who}: its package registers no {self.kind} of this name. Its author has to "
                "give the entry point and the registered function the same name"
            )


def _registrant(call: Callable[..., object]) -> str:
    """Return the module of a registered function; for a user's file (`--also`), its path."""
    module = call.__module__
    return f"{_source(call) or module}" if module.startswith(_ALSO) else module


def _remedy(first: Callable[..., object], second: Callable[..., object]) -> str:
    """Return what to do about two functions that are registered under one name."""
    place = _place_in_mssbench(first)
    if place and place == _place_in_mssbench(second):
        return (
            "This is a second copy of a file that comes with mssbench: install the clone with "
            "`pip install -e .`, or rename the function."
        )
    return "Rename one of the two."


def _place_in_mssbench(call: Callable[..., object]) -> tuple[str, ...]:
    """Return the path, in its mssbench, of a file of methods or problems; empty for other files.

    For example ("methods", "forward", "eigh.py"), whether that mssbench is the one that runs, or a
    clone beside it.
    """
    file = _source(call)
    if file is None or "mssbench" not in file.parts[:-1]:
        return ()
    parts = file.resolve().parts
    place = parts[len(parts) - parts[::-1].index("mssbench") :]
    folders = (("methods", "forward"), ("methods", "backward"), ("problems",))
    return place if place[:-1] in folders else ()


def _source(call: Callable[..., object]) -> Path | None:
    """Return the source file of a function; None if it has none."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(call))
    except TypeError:  # it is built into the interpreter
        return None
    return Path(file) if file else None


def check_function(kind: str, call: Any) -> None:
    """Raise RegistryError unless `call` is a function with a name and a readable source file.

    The source is needed for the code hash of each row.
    """
    if not callable(call) or not isinstance(getattr(call, "__name__", None), str):
        raise RegistryError(
            f"{kind} {call!r} is not a function with a name: register a function that is defined "
            "by `def`."
        )

    if _source(call) is None:
        raise RegistryError(
            f"{kind} {call.__name__!r} has no source file, so that its changes could not be "
            "detected. Define it in a Python file, and give that as --also."
        )


def swept_parameters(call: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """Return the keyword-only arguments of a registered function, which suites may set."""
    parameters = inspect.signature(call).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def hints_of(call: Callable[..., object], swept: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return the types of some parameters of a function, by name; swept: these parameters.

    The annotations of its other parameters are not evaluated, because they may contain names that
    are imported for type checkers only.
    """
    annotations = {name: p.annotation for name, p in swept.items() if p.annotation is not p.empty}
    names = getattr(inspect.unwrap(call), "__globals__", {})
    return typing.get_type_hints(SimpleNamespace(__annotations__=annotations), globalns=names)


def load_file(path: Path) -> None:
    """Import a file with a user's own methods or problems (`--also`), once per process.

    Raises RegistryError if there is no such file, or if an error occurs while it is imported.
    """
    # The module name depends on the path, so that two files of one name are two modules.
    name = f"{_ALSO}{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return

    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RegistryError(f"--also {path}: there is no such Python file.")

    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that no file in it replaces an installed module
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # the file may raise any exception, or exit
        del sys.modules[name]
        raise RegistryError(f"--also {path}: {_what_failed(error)}") from error
    _refuse_foreign_helpers(path, module)


def _what_failed(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SystemExit):
        return f"{text}: it ends the program while it is imported. Put that under __main__."
    return text


def _refuse_foreign_helpers(path: Path, module: ModuleType) -> None:
    """Raise RegistryError if the file imported a helper module from another folder.

    A module name is imported once per process, so that two user files in different folders cannot
    each have a `helpers.py`: the second one would get the helpers of the first.
    """
    ours = {file.stem: file.resolve() for file in path.resolve().parent.glob("*.py")}
    for value in vars(module).values():
        imported = value if isinstance(value, ModuleType) else sys.modules.get(_home(value))
        name, file = getattr(imported, "__name__", ""), getattr(imported, "__file__", None)
        if name not in ours or name in sys.stdlib_module_names or not file:
            continue

        taken = Path(file).resolve()
        # An installed package has priority over the file, as for every program in that folder.
        if taken != ours[name] and not {"site-packages", "dist-packages"} & {*taken.parts}:
            raise RegistryError(
                f"--also {path}: it imports {name}. The file beside it has this name, but Python "
                f"took {taken}, which it found or imported first. Rename one of these two files."
            )


def _home(value: object) -> str:
    """Return the name of the module that defines a function or class; empty for other values."""
    name = getattr(value, "__module__", "")
    return name if isinstance(name, str) else ""
