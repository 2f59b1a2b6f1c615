"""Forward and backward methods by name, and what may be asked of each.

A *forward* computes a root; a *backward* turns the root's cotangent into the gradient. They meet
only in `Root`, so any forward pairs with any backward.
"""

import hashlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Collection
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import Any

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import NotInstalled, RegistryError, unknown
from mssbench.methods.method import FUNCTIONS, Kind, Method, Root, Wanted

FORWARD: dict[str, Method] = {}
BACKWARD: dict[str, Method] = {}
TABLES: dict[str, dict[str, Method]] = {"forward": FORWARD, "backward": BACKWARD}


def register_forward(
    *,
    cite: str,
    products: Callable[..., float],
    yields: Collection[str] = FUNCTIONS,
    libraries: Collection[str] = arrays.LIBRARIES,
    precisions: Collection[str] = tuple(arrays.STORAGE),
    inexact: str = "",
    sizes: Collection[int] = (),
    package: str = "",
    opaque: bool = False,
    apply: Callable[[Array, Array], Array] | None = None,
    launches: int = 0,
    devices: Collection[str] = (),
) -> Callable[[Callable[..., Root]], Callable[..., Root]]:
    """Register `f(a, wanted, *, <parameters>) -> Root` under its own name.

    a: (..., n, n), symmetric positive semidefinite; it is not written to.
    wanted: names of the fields of Root that will be used; others may stay None. A forward that
    always computes everything may leave this argument out.

    cite: the source. products: (**parameters) -> the cost of one call in batched products.
    yields: the fields of Root it can give. inexact: why no choice of its parameters makes it exact,
    where none does. sizes: the n it takes, where that is not any. package: the module it imports
    when called and not before, where that may be missing, so that a list of methods stays cheap.
    opaque: autograd would not find the gradient in what it does, so no recorded backward takes it.
    apply: (a, b) -> A^{-1/2} b, b (..., n, 1), for a method that needs no inverse root for it.
    launches: how often a call starts something on a GPU, where that is not once for each product.
    devices: those it runs on, where that is not any; on others it raises Unsupported.
    """

    def decorate(call: Callable[..., Root]) -> Callable[..., Root]:
        takes_wanted = "wanted" in inspect.signature(call).parameters
        _add(
            Method(
                "forward",
                call.__name__,
                call if takes_wanted else _ignore_wanted(call),
                cite,
                tuple(libraries),
                tuple(precisions),
                products,
                tuple(yields),
                inexact=inexact,
                sizes=tuple(sizes),
                package=package,
                opaque=opaque,
                apply=apply,
                launches=launches,
                devices=tuple(devices),
            )
        )
        return call

    return decorate


def register_backward(
    *,
    cite: str,
    products: Callable[..., float],
    reads: Collection[str] = (),
    only: bool = False,
    recorded: bool = False,
    libraries: Collection[str] = arrays.LIBRARIES,
    precisions: Collection[str] = tuple(arrays.STORAGE),
    inexact: str = "",
    symmetrizes: bool = False,
    launches: int = 0,
    devices: Collection[str] = (),
) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Register `f(root, function, g, *, <parameters>) -> s` under its own name.

    g: the symmetric cotangent of `function`; s: dL/dA, symmetric. `root` carries the fields named
    in `reads` where the forward yields them all, else the roots of the Lyapunov equation: Y, and
    Z for the inverse root. Most backwards solve that equation and use
    `backward.implicit.lyapunov_solver` instead of this.

    only: it can do with nothing else than what it reads, and pairs with no other forward.
    recorded: register `f(forward, a) -> root` instead; autograd differentiates what it does.
    inexact: why no choice of its parameters makes it exact, where none does.
    symmetrizes: g is handed to it as it came, and its symmetric part is taken inside.
    launches, devices: as of a forward.
    """

    def decorate(call: Callable[..., Array]) -> Callable[..., Array]:
        _add(
            Method(
                "backward",
                call.__name__,
                call,
                cite,
                tuple(libraries),
                tuple(precisions),
                products,
                tuple(reads),
                recorded,
                inexact=inexact,
                only=only,
                symmetrizes=symmetrizes,
                launches=launches,
                devices=tuple(devices),
            )
        )
        return call

    return decorate


def _add(method: Method) -> None:
    table, name = TABLES[method.kind], method.name
    if name in table and table[name].call.__module__ != method.call.__module__:
        first, second = table[name].call.__module__, method.call.__module__
        raise RegistryError(
            f"{method.kind} {name!r} is registered twice: by {first} and by {second}."
        )
    table[name] = method


def _ignore_wanted(call: Callable[..., Root]) -> Callable[..., Root]:
    def uniform(a: Array, wanted: Wanted, **parameters: Any) -> Root:
        del wanted
        return call(a, **parameters)

    uniform.__wrapped__ = call  # type: ignore[attr-defined]  # signature, docstring, source
    uniform.__module__ = call.__module__
    uniform.__doc__ = call.__doc__
    uniform.__annotations__ = call.__annotations__
    return uniform


@cache
def load() -> None:
    """Import every built-in method, once. They import no array library, so this is cheap."""
    for package in ("forward", "backward"):
        path = str(Path(__file__).parent / package)
        for module in pkgutil.iter_modules([path]):
            importlib.import_module(f"mssbench.methods.{package}.{module.name}")


def load_file(path: Path) -> None:
    """Run a file of a user's own methods (`--also`), once. Raises RegistryError if it fails."""
    name = f"mssbench_also_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RegistryError(f"--also {path}: there is no such Python file.")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise RegistryError(f"--also {path}: {type(error).__name__}: {error}") from error


def lookup(kind: Kind, name: str) -> Method:
    """The method called `name`, importing the plugin that owns it only now.

    An entry point carries the method's own name, so a suite that does not ask for a plugin never
    imports it. Raises RegistryError for an unknown name, NotInstalled for a missing package.
    """
    load()
    table = TABLES[kind]
    if name not in table:
        _load_plugin(kind, name)
    if reason := missing(table[name]):
        raise NotInstalled(reason)
    return table[name]


def missing(method: Method) -> str:
    """Which package the method lacks here, with its install line; empty where it lacks none."""
    name = method.package.partition(".")[0]
    if not name or _is_installed(name):
        return ""
    return f"{method.kind} {method.name!r} needs {name}: {_install_line(method)}"


def import_package(method: Method) -> None:
    """Import what the method needs beside its array library. Raises NotInstalled if it fails."""
    if not method.package:
        return
    try:
        importlib.import_module(method.package)
    except ImportError as error:
        who = f"{method.kind} {method.name!r} cannot use the installed {method.package}"
        raise NotInstalled(f"{who}: {error}: {_install_line(method)}") from error


def known(kind: Kind) -> dict[str, Method]:
    """Every method registered so far: built in, from `--also`, and the plugins that were named."""
    load()
    return dict(sorted(TABLES[kind].items()))


def load_plugins(kind: Kind) -> dict[str, str]:
    """Import every plugin, to list it beside the rest. Returns those that fail: name to reason."""
    load()
    failed = {}
    for name in sorted(_plugins(kind).names):
        try:
            _load_plugin(kind, name)
        except (NotInstalled, RegistryError) as error:
            failed[name] = str(error)
    return failed


def names(kind: Kind) -> list[str]:
    """Every name that `lookup` knows. Imports no plugin."""
    load()
    return sorted({*TABLES[kind], *_plugins(kind).names})


def _plugins(kind: Kind) -> EntryPoints:
    return entry_points(group=f"mssbench.{kind}")


def _load_plugin(kind: Kind, name: str) -> None:
    """Import the plugin that offers `name`. Whatever is wrong with it is said, with its package."""
    found = _plugins(kind).select(name=name)
    if not found:
        raise RegistryError(unknown(kind, name, names(kind)))
    owners = [f"{p.dist.name} {p.dist.version}" if p.dist else p.value for p in found]
    if len(owners) > 1:
        raise RegistryError(f"{kind} {name!r} is offered twice: by {' and by '.join(owners)}.")
    (plugin,), who = found, f"{kind} {name!r} of {owners[0]}"
    try:
        plugin.load()
    except ModuleNotFoundError as error:
        raise NotInstalled(f"{who} needs {error.name}: pip install {error.name}") from error
    except Exception as error:  # a stranger's module may fail in any way, and is a row like others
        raise NotInstalled(f"{who} cannot be imported: {type(error).__name__}: {error}") from error
    if name not in TABLES[kind]:
        raise NotInstalled(f"{who} registers no such {kind}: entry point and function must agree")


@cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _install_line(method: Method) -> str:
    ours = method.call.__module__.startswith("mssbench.")
    return "pip install " + ("'mssbench[peers]'" if ours else method.package.partition(".")[0])
